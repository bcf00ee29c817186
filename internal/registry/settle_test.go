package registry_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// starting is a stack right after the start of the edge: idB is ready, idA is known and has not answered yet.
func starting(t *testing.T, settings registry.Settings) (*stack, registry.Target) {
	t.Helper()
	probe := newManual()
	settings.Probe = probe
	s := newStack(t, settings)
	s.engine.Expect()
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idB, "10.0.0.2")})
	s.engine.Online(true)
	probe.target(t, "10.0.0.2:80").Answers("ok")
	return s, probe.target(t, "10.0.0.1:80")
}

func TestRightAfterTheStartARequestWaitsForWhereItBelongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := starting(t, registry.Settings{})
		defer s.Close()
		got := make(chan string)
		go func() { got <- s.claim(t, registry.Want{Prefer: idA}).Endpoint().ID() }()
		synctest.Wait()
		time.Sleep(time.Second)
		a.Answers("ok")
		if id := <-got; id != idA {
			t.Errorf("it went to %s", id)
		}
	})
}

func TestNobodyWaitsForLongWhereAnotherIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := starting(t, registry.Settings{})
		defer s.Close()
		began := time.Now()
		if id := s.claim(t, registry.Want{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("it went to %s", id)
		}
		if waited := time.Since(began); waited > 3*time.Second {
			t.Errorf("it waited %s", waited)
		}
		began = time.Now()
		s.claim(t, registry.Want{Prefer: idA})
		if waited := time.Since(began); waited > 0 {
			t.Errorf("long after the start it waited %s", waited)
		}
	})
}

func TestWhoWouldWaitForAnotherIsNotRefusedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := starting(t, registry.Settings{MaxHeld: 1})
		defer s.Close()
		go func() { _, _ = s.service.Acquire(t.Context(), registry.Want{Prefer: idA}) }()
		synctest.Wait() // that one is held
		if id := s.claim(t, registry.Want{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("it went to %s", id)
		}
	})
}

func TestSettledWaitsForTheSourcesAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, registry.Settings{})
		defer s.Close()
		s.Settled(t.Context()) // nobody is expected
		s.engine.Expect()
		s.dns.Expect()
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.dns.Online(true)
			s.engine.Online(true)
		}()
		if s.Settled(t.Context()); time.Since(began) != time.Second {
			t.Errorf("it waited %s for the sources", time.Since(began))
		}
	})
	for _, source := range []struct {
		fails bool
		want  time.Duration
	}{{true, 3 * time.Second}, {false, 15 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStack(t, registry.Settings{})
			defer s.Close()
			s.engine.Expect()
			began := time.Now()
			if source.fails {
				s.engine.Online(false)
			}
			if s.Settled(t.Context()); time.Since(began) != source.want {
				t.Errorf("it waited %s for a source that never speaks, fails: %t", time.Since(began), source.fails)
			}
		})
	}
}

// TestWhoHasWaitedForTheSourcesSeesWhatTheySaid: a cookie names a container by the ID that the Engine knows.
func TestWhoHasWaitedForTheSourcesSeesWhatTheySaid(t *testing.T) {
	for range 300 {
		s := newStack(t, registry.Settings{})
		s.engine.Expect()
		s.dns.Expect()
		s.dns.Set("api", []registry.Member{found("10.0.0.1")})
		s.dns.Online(true)
		s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
		seen := make(chan bool)
		for range 4 {
			go func() {
				s.Settled(t.Context())
				ids, _ := s.service.Identities()
				seen <- slices.Contains(ids, idA)
			}()
		}
		s.engine.Online(true)
		for range 4 {
			if !<-seen {
				t.Fatal("it was let go before the Engine's name was known")
			}
		}
	}
}

// TestAnEndpointHasItsTimeAfterASlowSource: on a busy machine the Engine may be connected just before the wait would end.
func TestAnEndpointHasItsTimeAfterASlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := newStack(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Expect()
		s.dns.Expect()
		s.dns.Set("api", []registry.Member{found("10.0.0.1"), found("10.0.0.2")})
		s.dns.Online(true)
		probe.target(t, "10.0.0.2:80").Answers("ok")
		time.Sleep(5 * time.Second)
		s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idB, "10.0.0.2")})
		s.engine.Online(true)
		s.Settled(t.Context())
		go func() {
			time.Sleep(2 * time.Second)
			probe.target(t, "10.0.0.1:80").Answers("ok")
		}()
		if id := s.claim(t, registry.Want{Prefer: idA}).Endpoint().ID(); id != idA {
			t.Errorf("it went to %s", id)
		}
	})
}
