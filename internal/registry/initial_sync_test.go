package registry_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// newStartingFixture is a stack right after the start of the edge: idB is ready, idA is known and has not answered yet.
func newStartingFixture(t *testing.T, settings registry.Settings) (*fixture, registry.Target) {
	t.Helper()
	probe := newManualProbe()
	settings.Probe = probe
	s := newFixture(t, settings)
	s.engine.Expect()
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	s.engine.SetOnline(true)
	probe.target(t, "10.0.0.2:80").ReportReady("ok")
	return s, probe.target(t, "10.0.0.1:80")
}

func TestStartupGraceWaitsForThePreferredEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := newStartingFixture(t, registry.Settings{})
		defer s.Close()
		got := make(chan string)
		go func() { got <- s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID() }()
		synctest.Wait()
		time.Sleep(time.Second)
		a.ReportReady("ok")
		if id := <-got; id != idA {
			t.Errorf("it went to %s", id)
		}
	})
}

func TestStartupGraceEndsWithAnotherReadyEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStartingFixture(t, registry.Settings{})
		defer s.Close()
		began := time.Now()
		if id := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("it went to %s", id)
		}
		if waited := time.Since(began); waited > 3*time.Second {
			t.Errorf("it waited %s", waited)
		}
		began = time.Now()
		s.mustAcquire(t, registry.PickOptions{Prefer: idA})
		if waited := time.Since(began); waited > 0 {
			t.Errorf("long after the start it waited %s", waited)
		}
	})
}

func TestFullQueueFallsBackToAReadyEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStartingFixture(t, registry.Settings{MaxHeld: 1})
		defer s.Close()
		go func() { _, _ = s.service.Acquire(t.Context(), registry.PickOptions{Prefer: idA}) }()
		synctest.Wait() // that one is held
		if id := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("it went to %s", id)
		}
	})
}

func TestWaitForSyncWaitsForSourcesWithALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		defer s.Close()
		s.WaitForSync(t.Context()) // nobody is expected
		s.engine.Expect()
		s.dns.Expect()
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.dns.SetOnline(true)
			s.engine.SetOnline(true)
		}()
		if s.WaitForSync(t.Context()); time.Since(began) != time.Second {
			t.Errorf("it waited %s for the sources", time.Since(began))
		}
	})
	for _, source := range []struct {
		fails bool
		want  time.Duration
	}{{true, 3 * time.Second}, {false, 15 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := newFixture(t, registry.Settings{})
			defer s.Close()
			s.engine.Expect()
			began := time.Now()
			if source.fails {
				s.engine.SetOnline(false)
			}
			if s.WaitForSync(t.Context()); time.Since(began) != source.want {
				t.Errorf("it waited %s for a source that never speaks, fails: %t", time.Since(began), source.fails)
			}
		})
	}
}

// TestWaitersSeeWhatSourcesReported: a cookie names a container by the ID that the Engine knows.
func TestWaitersSeeWhatSourcesReported(t *testing.T) {
	for range 300 {
		s := newFixture(t, registry.Settings{})
		s.engine.Expect()
		s.dns.Expect()
		s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
		s.dns.SetOnline(true)
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		seen := make(chan bool)
		for range 4 {
			go func() {
				s.WaitForSync(t.Context())
				ids, _ := s.service.Identities()
				seen <- slices.Contains(ids, idA)
			}()
		}
		s.engine.SetOnline(true)
		for range 4 {
			if !<-seen {
				t.Fatal("it was let go before the Engine's name was known")
			}
		}
	}
}

// TestStartupGraceBeginsAfterTheSlowestSource: on a busy machine the Engine may be connected just before the wait would end.
func TestStartupGraceBeginsAfterTheSlowestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newFixture(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Expect()
		s.dns.Expect()
		s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
		s.dns.SetOnline(true)
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		time.Sleep(5 * time.Second)
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		s.engine.SetOnline(true)
		s.WaitForSync(t.Context())
		go func() {
			time.Sleep(2 * time.Second)
			probe.target(t, "10.0.0.1:80").ReportReady("ok")
		}()
		if id := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idA {
			t.Errorf("it went to %s", id)
		}
	})
}
