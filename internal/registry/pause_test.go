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

// pauseAsync has a request wait in the background.
func (s *fixture) pauseAsync(ctx context.Context, over <-chan struct{}) <-chan acquireResult {
	result, began := make(chan acquireResult, 1), time.Now()
	go func() {
		err := s.service.Pause(ctx, netip.Addr{}, began, over)
		result <- acquireResult{err, time.Since(began)}
	}()
	synctest.Wait()
	return result
}

func TestAPausedRequestWaitsAlthoughAnEndpointIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		s.engine.SetOnline(true)
		over := make(chan struct{})
		result := s.pauseAsync(t.Context(), over)
		if held := s.service.Status().Held; held != 1 {
			t.Errorf("%d held, want 1", held)
		}
		time.Sleep(3 * time.Second)
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")}) // which wakes those who wait for one
		time.Sleep(4 * time.Second)
		close(over)
		if got := <-result; got.err != nil || got.after != 7*time.Second {
			t.Errorf("%v after %s, want to pass after 7s", got.err, got.after)
		}
		if held := s.service.Status().Held; held != 0 {
			t.Errorf("%d held, want none", held)
		}
	})
}

func TestPauseEndsByTimeoutClientOrShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{Hold: 10 * time.Second, MaxHeld: 1})
		first := s.pauseAsync(t.Context(), nil)
		if got := <-s.pauseAsync(t.Context(), nil); !errors.Is(got.err, registry.ErrFull) || got.after != 0 {
			t.Errorf("a second one: %v after %s, want ErrFull at once", got.err, got.after)
		}
		if got := <-first; !errors.Is(got.err, registry.ErrPauseTimeout) || got.after != 10*time.Second {
			t.Errorf("%v after %s, want ErrPaused after 10s", got.err, got.after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := <-s.pauseAsync(ctx, nil); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("a client that leaves: %v", got.err)
		}
		if err := s.service.Pause(t.Context(), netip.Addr{}, time.Now().Add(-10*time.Second), nil); !errors.Is(err, registry.ErrPauseTimeout) {
			t.Errorf("one that has waited enough: %v", err)
		}
		stopping := s.pauseAsync(t.Context(), nil)
		s.StopHolding()
		if got := <-stopping; !errors.Is(got.err, registry.ErrClosed) {
			t.Errorf("when the edge stops: %v", got.err)
		}
	})
}

func TestCloseSocketsAffectsOnlyItsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
		s.engine.SetOnline(true)
		synctest.Wait()
		shed := func() (reasons string) {
			for _, links := range s.conns {
				reasons += links[0].closeReason + " "
			}
			return reasons
		}
		s.CloseSockets("other:80", "maintenance")
		if got := shed(); got != "  " {
			t.Errorf("for another service, they are shed for %q", got)
		}
		s.CloseSockets("api:80", "maintenance")
		if got := shed(); got != "maintenance maintenance " {
			t.Errorf("they are shed for %q", got)
		}
	})
}
