package registry_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestMaxHeldLimitsHeldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{MaxHeld: 2})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		first, second := f.acquireAsync(t.Context()), f.acquireAsync(t.Context())
		synctest.Wait()
		if got := <-f.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrFull) {
			t.Errorf("the third: %v, want ErrFull", got.err)
		}
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if a, b := <-first, <-second; a.err != nil || b.err != nil {
			t.Errorf("the held requests: %v, %v", a.err, b.err)
		}
	})
}

func TestOneClientCannotFillTheHoldQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{MaxHeld: 100, MaxHeldPerClient: 3})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		ctx, leave := context.WithCancel(t.Context())
		first := f.acquireAsyncAs(ctx, alice)
		rest := []<-chan error{f.acquireAsyncAs(t.Context(), alice), f.acquireAsyncAs(t.Context(), alice)}
		synctest.Wait()
		if err := <-f.acquireAsyncAs(t.Context(), alice); !errors.Is(err, registry.ErrClientFull) {
			t.Errorf("the fourth request of one client: %v, want ErrClientFull", err)
		}
		if err := f.service.Pause(t.Context(), alice, time.Now(), nil); !errors.Is(err, registry.ErrClientFull) {
			t.Errorf("the fourth request of one client in maintenance: %v, want ErrClientFull", err)
		}
		for range 10 {
			rest = append(rest, f.acquireAsyncAs(t.Context(), bob)) // three of them wait
			rest = append(rest, f.acquireAsyncAs(t.Context(), netip.Addr{}))
		}
		synctest.Wait()
		if held := f.service.Status().Held; held != 3+3+10 {
			t.Errorf("%d are held, want 3 of each client and 10 without a client", held)
		}
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		rest = append(rest, f.acquireAsyncAs(t.Context(), alice)) // one more of this client may wait again
		synctest.Wait()
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		served := 0
		for _, result := range rest {
			if err := <-result; err == nil {
				served++
			} else if !errors.Is(err, registry.ErrClientFull) {
				t.Error(err)
			}
		}
		if served != 3+3+10 {
			t.Errorf("%d requests got an endpoint, want 16", served)
		}
	})
}

func TestDefaultHoldLimitPerClientIsATenth(t *testing.T) {
	for settings, want := range map[registry.Settings]int{
		{}:                                  100,
		{MaxHeld: 20}:                       10,
		{MaxHeld: 50, MaxHeldPerClient: 40}: 40,
		{MaxHeld: 30, MaxHeldPerClient: -1}: 30,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, settings)
			defer f.Close()
			f.engine.Set("api", []registry.Member{stoppedMember("a")})
			f.engine.SetOnline(true)
			for range 150 {
				f.acquireAsyncAs(t.Context(), alice)
			}
			synctest.Wait()
			if held := f.service.Status().Held; held != want {
				t.Errorf("%+v: %d requests of one client are held, want %d", settings, held, want)
			}
		})
	}
}

// pauseAsync pauses a request in the background, and returns when it waits or has failed.
func (f *fixture) pauseAsync(ctx context.Context, done <-chan struct{}) <-chan acquireResult {
	result, start := make(chan acquireResult, 1), time.Now()
	go func() {
		err := f.service.Pause(ctx, netip.Addr{}, start, done)
		result <- acquireResult{err, time.Since(start)}
	}()
	synctest.Wait()
	return result
}

func TestAPausedRequestWaitsAlthoughAnEndpointIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		f.engine.SetOnline(true)
		done := make(chan struct{})
		result := f.pauseAsync(t.Context(), done)
		if held := f.service.Status().Held; held != 1 {
			t.Errorf("%d held, want 1", held)
		}
		time.Sleep(3 * time.Second)
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")}) // this wakes all held requests
		time.Sleep(4 * time.Second)
		close(done)
		if got := <-result; got.err != nil || got.after != 7*time.Second {
			t.Errorf("got %v after %s, want success after 7s", got.err, got.after)
		}
		if held := f.service.Status().Held; held != 0 {
			t.Errorf("%d held, want none", held)
		}
	})
}

func TestPauseEndsByTimeoutClientOrShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{Hold: 10 * time.Second, MaxHeld: 1})
		first := f.pauseAsync(t.Context(), nil)
		if got := <-f.pauseAsync(t.Context(), nil); !errors.Is(got.err, registry.ErrFull) || got.after != 0 {
			t.Errorf("the second request: %v after %s, want ErrFull at once", got.err, got.after)
		}
		if got := <-first; !errors.Is(got.err, registry.ErrPauseTimeout) || got.after != 10*time.Second {
			t.Errorf("%v after %s, want ErrPauseTimeout after 10s", got.err, got.after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := <-f.pauseAsync(ctx, nil); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("when the client leaves: %v", got.err)
		}
		if err := f.service.Pause(t.Context(), netip.Addr{}, time.Now().Add(-10*time.Second), nil); !errors.Is(err, registry.ErrPauseTimeout) {
			t.Errorf("a request that has waited for the hold time: %v", err)
		}
		last := f.pauseAsync(t.Context(), nil)
		f.StopHolding()
		if got := <-last; !errors.Is(got.err, registry.ErrClosed) {
			t.Errorf("when the edge stops: %v", got.err)
		}
	})
}
