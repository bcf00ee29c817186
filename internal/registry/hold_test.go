package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// stoppedMember says that a container is known, so that waiting makes sense.
func stoppedMember(id string) registry.Member {
	return registry.Member{ID: id, Phase: registry.Stopped}
}

// acquireResult is what one waiting request came to.
type acquireResult struct {
	err   error
	after time.Duration
}

// acquireAsync acquires in the background.
func (s *fixture) acquireAsync(ctx context.Context) <-chan acquireResult {
	result, began := make(chan acquireResult, 1), time.Now()
	go func() {
		claim, err := s.service.Acquire(ctx, registry.PickOptions{})
		if err == nil {
			claim.Release()
		}
		result <- acquireResult{err, time.Since(began)}
	}()
	return result
}

func TestAHeldRequestGoesOnWhenAnEndpointBecomesReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		first, second := s.acquireAsync(t.Context()), s.acquireAsync(t.Context())
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if held := s.service.Status().Held; held != 2 {
			t.Errorf("%d held, want 2", held)
		}
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		for _, got := range []acquireResult{<-first, <-second} {
			if got.err != nil || got.after != 7*time.Second {
				t.Errorf("got %v after %s, want an endpoint after 7s", got.err, got.after)
			}
		}
	})
}

func TestHeldRequestsGiveUpTogetherWhenTheHoldTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{Hold: 10 * time.Second})
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		s.engine.SetOnline(true)
		time.Sleep(time.Hour)
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		first := s.acquireAsync(t.Context())
		time.Sleep(4 * time.Second)
		second := s.acquireAsync(t.Context())
		if got := <-first; !errors.Is(got.err, registry.ErrDown) || got.after != 10*time.Second {
			t.Errorf("first: %v after %s, want ErrDown after 10s", got.err, got.after)
		}
		if got := <-second; !errors.Is(got.err, registry.ErrDown) || got.after != 6*time.Second {
			t.Errorf("second: %v after %s, want ErrDown after 6s", got.err, got.after)
		}
		if got := <-s.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrDown) || got.after != 0 {
			t.Errorf("later: %v after %s, want ErrDown at once", got.err, got.after)
		}
	})
}

func TestHeldRequestEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		ctx, leave := context.WithCancel(t.Context())
		result := s.acquireAsync(ctx)
		time.Sleep(time.Second)
		leave()
		if got := <-result; !errors.Is(got.err, context.Canceled) || got.after != time.Second {
			t.Errorf("got %v after %s, want the client's end after 1s", got.err, got.after)
		}
		if held := s.service.Status().Held; held != 0 {
			t.Errorf("%d still held", held)
		}
	})
}

func TestNoMoreRequestsAreHeldThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{MaxHeld: 2})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		first, second := s.acquireAsync(t.Context()), s.acquireAsync(t.Context())
		synctest.Wait()
		if got := <-s.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrFull) {
			t.Errorf("the third: %v, want ErrFull", got.err)
		}
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if a, b := <-first, <-second; a.err != nil || b.err != nil {
			t.Errorf("those that were held: %v, %v", a.err, b.err)
		}
	})
}

func TestUnknownNameFailsAtOnceAndListsKnownNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		waiting := s.acquireAsync(t.Context()) // before anybody has looked, it waits
		time.Sleep(time.Second)
		s.engine.Set("app", []registry.Member{engineMember("x", "10.0.0.9")})
		s.engine.SetOnline(true)
		s.dns.Set("api", nil)
		if got := <-waiting; !errors.Is(got.err, registry.ErrUnknown) || got.after != time.Second {
			t.Errorf("got %v after %s, want ErrUnknown once it was looked for", got.err, got.after)
		}
		got := <-s.acquireAsync(t.Context())
		if !errors.Is(got.err, registry.ErrUnknown) || got.after != 0 {
			t.Errorf("got %v after %s, want ErrUnknown at once", got.err, got.after)
		}
		if text := s.Explain(got.err); !strings.Contains(text, "api:80") || !strings.Contains(text, "known: app") {
			t.Errorf("%q names neither what is wanted nor what is known", text)
		}
	})
}

func TestRequestsAreHeldForANameThatDNSHasKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
		s.dns.Set("api", nil) // a stopped container's name is NXDOMAIN
		result := s.acquireAsync(t.Context())
		time.Sleep(3 * time.Second)
		s.dns.Set("api", []registry.Member{dnsMember("10.0.0.2")})
		if got := <-result; got.err != nil || got.after != 3*time.Second {
			t.Errorf("got %v after %s, want an endpoint after 3s", got.err, got.after)
		}
	})
}

func TestAReloadLeavesHeldRequestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		result := s.acquireAsync(t.Context())
		synctest.Wait()
		next, err := s.Declare("api:80") // the new configuration
		if err != nil {
			t.Fatal(err)
		}
		next.Configure(registry.Settings{Hold: time.Minute})
		s.service.Drop() // the old one
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if got := <-result; got.err != nil {
			t.Errorf("the held request failed: %v", got.err)
		}
		next.Drop()
	})
}

func TestStopHoldingEndsAllHeldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		result := s.acquireAsync(t.Context())
		synctest.Wait()
		s.StopHolding()
		if got := <-result; !errors.Is(got.err, registry.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", got.err)
		}
	})
}

func TestWithANegativeHoldNothingIsHeld(t *testing.T) {
	s := newFixture(t, registry.Settings{Hold: -1})
	s.engine.Set("api", []registry.Member{stoppedMember("a")})
	s.engine.SetOnline(true)
	if _, err := s.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrDown) {
		t.Errorf("got %v, want ErrDown at once", err)
	}
}

func TestWithoutDNSAnUnlistedNameFailsAtOnce(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.SetOnline(true)
	if _, err := s.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown at once", err)
	}
	s.dns.SetOnline(true)
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	s.wantStates(t, "10.0.0.1:80 ready; ")
}
