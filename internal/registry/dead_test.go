package registry_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestADeadContainersConnectionsAreCutALittleLater: their FIN may be lost with its network, and what it sent before its end may
// still be on its way.
func TestADeadContainersConnectionsAreCutALittleLater(t *testing.T) {
	for name, end := range map[string][]registry.Member{"stopped": {stopped(idA)}, "removed": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStack(t, registry.Settings{})
				defer s.Close()
				s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
				s.engine.Online(true)
				claim := s.claim(t, registry.Want{})
				s.engine.Set("api", end)
				link := s.links["10.0.0.1:80"][0]
				time.Sleep(time.Second)
				if link.cut() {
					t.Error("they are cut at once")
				}
				time.Sleep(2 * time.Second)
				if !link.cut() {
					t.Error("they are never cut")
				}
				claim.Release()
			})
		})
	}
}

// TestAContainerThatDNSForgetsMayFinish: it may run all the same.
func TestAContainerThatDNSForgetsMayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, registry.Settings{})
		defer s.Close()
		s.dns.Set("api", []registry.Member{found("10.0.0.1")})
		s.dns.Online(true)
		claim := s.claim(t, registry.Want{})
		s.dns.Set("api", nil)
		time.Sleep(time.Minute)
		if s.links["10.0.0.1:80"][0].cut() {
			t.Error("its connections were cut")
		}
		claim.Release()
	})
}

// cut reports whether the connections have been cut.
func (l *fakeLink) cut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts > 0
}
