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

func TestHeldRequestsContinueWhenAnEndpointBecomesReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		first, second := f.acquireAsync(t.Context()), f.acquireAsync(t.Context())
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if held := f.service.Status().Held; held != 2 {
			t.Errorf("%d held, want 2", held)
		}
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		for _, got := range []acquireResult{<-first, <-second} {
			if got.err != nil || got.after != 7*time.Second {
				t.Errorf("got %v after %s, want an endpoint after 7s", got.err, got.after)
			}
		}
	})
}

func TestHeldRequestsFailTogetherAfterTheHoldTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{Hold: 10 * time.Second})
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		f.engine.SetOnline(true)
		time.Sleep(time.Hour)
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		first := f.acquireAsync(t.Context())
		time.Sleep(4 * time.Second)
		second := f.acquireAsync(t.Context())
		if got := <-first; !errors.Is(got.err, registry.ErrDown) || got.after != 10*time.Second {
			t.Errorf("first: %v after %s, want ErrDown after 10s", got.err, got.after)
		}
		if got := <-second; !errors.Is(got.err, registry.ErrDown) || got.after != 6*time.Second {
			t.Errorf("second: %v after %s, want ErrDown after 6s", got.err, got.after)
		}
		if got := <-f.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrDown) || got.after != 0 {
			t.Errorf("later: %v after %s, want ErrDown at once", got.err, got.after)
		}
	})
}

func TestHeldRequestEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		ctx, leave := context.WithCancel(t.Context())
		result := f.acquireAsync(ctx)
		time.Sleep(time.Second)
		leave()
		if got := <-result; !errors.Is(got.err, context.Canceled) || got.after != time.Second {
			t.Errorf("got %v after %s, want context.Canceled after 1s", got.err, got.after)
		}
		if held := f.service.Status().Held; held != 0 {
			t.Errorf("%d are still held", held)
		}
	})
}

func TestUnknownNameFailsAtOnceAndListsKnownNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		waiting := f.acquireAsync(t.Context()) // no source has reported yet
		time.Sleep(time.Second)
		f.engine.Set("app", []registry.Member{engineMember("x", "10.0.0.9")})
		f.engine.SetOnline(true)
		f.dns.Set("api", nil)
		if got := <-waiting; !errors.Is(got.err, registry.ErrUnknown) || got.after != time.Second {
			t.Errorf("got %v after %s, want ErrUnknown after 1s", got.err, got.after)
		}
		got := <-f.acquireAsync(t.Context())
		if !errors.Is(got.err, registry.ErrUnknown) || got.after != 0 {
			t.Errorf("got %v after %s, want ErrUnknown at once", got.err, got.after)
		}
		if text := f.Explain(got.err); !strings.Contains(text, "api:80") || !strings.Contains(text, "known: app") {
			t.Errorf("%q lacks the wanted name or the known names", text)
		}
	})
}

func TestRequestsAreHeldForANameThatDNSHasKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
		f.dns.Set("api", nil) // for the name of a stopped container, DNS answers NXDOMAIN
		result := f.acquireAsync(t.Context())
		time.Sleep(3 * time.Second)
		f.dns.Set("api", []registry.Member{dnsMember("10.0.0.2")})
		if got := <-result; got.err != nil || got.after != 3*time.Second {
			t.Errorf("got %v after %s, want an endpoint after 3s", got.err, got.after)
		}
	})
}

// When a container is replaced, its end may be reported before its successor.
func TestReplacementGraceHoldsRequestsForTheSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		f.engine.SetOnline(true)
		f.engine.Set("api", nil)
		result := f.acquireAsync(t.Context())
		time.Sleep(900 * time.Millisecond)
		f.engine.Set("api", []registry.Member{engineMember("b", "10.0.0.2")})
		if got := <-result; got.err != nil || got.after != 900*time.Millisecond {
			t.Errorf("got %v after %s, want the successor after 900ms", got.err, got.after)
		}
		f.engine.Set("api", nil)
		if got := <-f.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrUnknown) || got.after != time.Second {
			t.Errorf("got %v after %s, want ErrUnknown after a second", got.err, got.after)
		}
		if got := <-f.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrUnknown) || got.after != 0 {
			t.Errorf("got %v after %s, want ErrUnknown at once from then on", got.err, got.after)
		}
	})
}

func TestReloadKeepsHeldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		result := f.acquireAsync(t.Context())
		synctest.Wait()
		next, err := f.Declare("api:80") // by the new configuration
		if err != nil {
			t.Fatal(err)
		}
		next.Configure(registry.Settings{Hold: time.Minute})
		f.service.Drop() // by the old configuration
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if got := <-result; got.err != nil {
			t.Errorf("the held request failed: %v", got.err)
		}
		next.Drop()
	})
}

func TestStopHoldingEndsAllHeldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{stoppedMember("a")})
		f.engine.SetOnline(true)
		result := f.acquireAsync(t.Context())
		synctest.Wait()
		f.StopHolding()
		if got := <-result; !errors.Is(got.err, registry.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", got.err)
		}
	})
}

func TestNegativeHoldHoldsNoRequests(t *testing.T) {
	f := newFixture(t, registry.Settings{Hold: -1})
	f.engine.Set("api", []registry.Member{stoppedMember("a")})
	f.engine.SetOnline(true)
	if _, err := f.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrDown) {
		t.Errorf("got %v, want ErrDown at once", err)
	}
}

func TestWithoutDNSAnUnlistedNameFailsAtOnce(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.SetOnline(true)
	if _, err := f.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown at once", err)
	}
	f.dns.SetOnline(true)
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ")
}
