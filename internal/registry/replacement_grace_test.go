package registry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestReplacementGraceHoldsRequestsForTheSuccessor: of a container that is replaced, the end may be told before the successor is known.
func TestReplacementGraceHoldsRequestsForTheSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		s.engine.SetOnline(true)
		s.engine.Set("api", nil)
		result := s.acquireAsync(t.Context())
		time.Sleep(900 * time.Millisecond)
		s.engine.Set("api", []registry.Member{engineMember("b", "10.0.0.2")})
		if got := <-result; got.err != nil || got.after != 900*time.Millisecond {
			t.Errorf("got %v after %s, want the successor after 900ms", got.err, got.after)
		}
		s.engine.Set("api", nil)
		if got := <-s.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrUnknown) || got.after != time.Second {
			t.Errorf("got %v after %s, want ErrUnknown after a second", got.err, got.after)
		}
		if got := <-s.acquireAsync(t.Context()); !errors.Is(got.err, registry.ErrUnknown) || got.after != 0 {
			t.Errorf("got %v after %s, want ErrUnknown at once from then on", got.err, got.after)
		}
	})
}
