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

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

// acquireAsyncAs acquires in the background, for a client.
func (s *fixture) acquireAsyncAs(ctx context.Context, client netip.Addr) <-chan error {
	result := make(chan error, 1)
	go func() {
		claim, err := s.service.Acquire(ctx, registry.PickOptions{Client: client})
		if err == nil {
			claim.Release()
		}
		result <- err
	}()
	return result
}

func TestOneClientCanNotFillTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{MaxHeld: 100, MaxHeldPerClient: 3})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		ctx, leave := context.WithCancel(t.Context())
		first := s.acquireAsyncAs(ctx, alice)
		rest := []<-chan error{s.acquireAsyncAs(t.Context(), alice), s.acquireAsyncAs(t.Context(), alice)}
		synctest.Wait()
		if err := <-s.acquireAsyncAs(t.Context(), alice); !errors.Is(err, registry.ErrClientFull) {
			t.Errorf("the fourth of one client: %v, want ErrClientFull", err)
		}
		if err := s.service.Pause(t.Context(), alice, time.Now(), nil); !errors.Is(err, registry.ErrClientFull) {
			t.Errorf("the fourth of one client in maintenance: %v, want ErrClientFull", err)
		}
		for range 10 {
			rest = append(rest, s.acquireAsyncAs(t.Context(), bob)) // three of them wait
			rest = append(rest, s.acquireAsyncAs(t.Context(), netip.Addr{}))
		}
		synctest.Wait()
		if held := s.service.Status().Held; held != 3+3+10 {
			t.Errorf("%d are held, want 3 of each client and all of nobody in particular", held)
		}
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		rest = append(rest, s.acquireAsyncAs(t.Context(), alice)) // it has room for one again
		synctest.Wait()
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		served := 0
		for _, result := range rest {
			if err := <-result; err == nil {
				served++
			} else if !errors.Is(err, registry.ErrClientFull) {
				t.Error(err)
			}
		}
		if served != 3+3+10 {
			t.Errorf("%d were served", served)
		}
	})
}

func TestAClientMayHaveATenthOfTheQueue(t *testing.T) {
	for settings, want := range map[registry.Settings]int{
		{}:                                  100,
		{MaxHeld: 20}:                       10,
		{MaxHeld: 50, MaxHeldPerClient: 40}: 40,
		{MaxHeld: 30, MaxHeldPerClient: -1}: 30,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFixture(t, settings)
			defer s.Close()
			s.engine.Set("api", []registry.Member{stoppedMember("a")})
			s.engine.SetOnline(true)
			for range 150 {
				s.acquireAsyncAs(t.Context(), alice)
			}
			synctest.Wait()
			if held := s.service.Status().Held; held != want {
				t.Errorf("%+v: %d of one client are held, want %d", settings, held, want)
			}
		})
	}
}

func TestFailuresOfOneClientAloneDoNotEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 3}})
		defer s.Close()
		fail := func(client netip.Addr) {
			claim := s.mustAcquire(t, registry.PickOptions{Session: idA})
			claim.ReportFailure("status 502", client)
			claim.Release()
		}
		for range 20 {
			fail(alice)
		}
		s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		fail(bob)
		s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	})
}

func TestOldArrivalTimeDoesNotResetTheRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{RetryBudget: 0.5})
		defer s.Close()
		old := time.Now()
		time.Sleep(10 * time.Second) // in maintenance; the same place in the ring of seconds
		for range 100 {
			s.mustAcquire(t, registry.PickOptions{ArrivedAt: time.Now()}).Release()
		}
		claim := s.mustAcquire(t, registry.PickOptions{ArrivedAt: old})
		defer claim.Release()
		for i := range 50 {
			if allowed, err := s.service.AllowRetry(t.Context(), claim.Endpoint()); !allowed || err != nil {
				t.Fatalf("retry %d of 101 requests was not allowed: %v", i+1, err)
			}
		}
	})
}
