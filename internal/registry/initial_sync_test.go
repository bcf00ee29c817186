package registry_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// newStartingFixture is the state right after the start of the edge: idB is ready, idA is known and has not answered yet.
func newStartingFixture(t *testing.T, settings registry.Settings) (*fixture, registry.Target) {
	t.Helper()
	probe := newManualProbe()
	settings.Probe = probe
	f := newFixture(t, settings)
	f.engine.Expect()
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	f.engine.SetOnline(true)
	probe.target(t, "10.0.0.2:80").ReportReady("ok")
	return f, probe.target(t, "10.0.0.1:80")
}

func TestStartupGraceWaitsForThePreferredEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := newStartingFixture(t, registry.Settings{})
		defer f.Close()
		got := make(chan string)
		go func() { got <- f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID() }()
		synctest.Wait()
		time.Sleep(time.Second)
		a.ReportReady("ok")
		if id := <-got; id != idA {
			t.Errorf("the request went to %s", id)
		}
	})
}

func TestStartupGraceEndsWithAnotherReadyEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newStartingFixture(t, registry.Settings{})
		defer f.Close()
		start := time.Now()
		if id := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("the request went to %s", id)
		}
		if waited := time.Since(start); waited > 3*time.Second {
			t.Errorf("the request waited %s", waited)
		}
		start = time.Now()
		f.mustAcquire(t, registry.PickOptions{Prefer: idA})
		if waited := time.Since(start); waited > 0 {
			t.Errorf("after the startup grace, the request waited %s", waited)
		}
	})
}

func TestFullQueueFallsBackToAReadyEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newStartingFixture(t, registry.Settings{MaxHeld: 1})
		defer f.Close()
		go func() { _, _ = f.service.Acquire(t.Context(), registry.PickOptions{Prefer: idA}) }()
		synctest.Wait() // the first request is held
		if id := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idB {
			t.Errorf("the request went to %s", id)
		}
	})
}

func TestWaitForSyncWaitsForSourcesWithALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		defer f.Close()
		f.WaitForSync(t.Context()) // returns at once: no source is expected
		f.engine.Expect()
		f.dns.Expect()
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			f.dns.SetOnline(true)
			f.engine.SetOnline(true)
		}()
		if f.WaitForSync(t.Context()); time.Since(start) != time.Second {
			t.Errorf("WaitForSync waited %s for the sources, want 1s", time.Since(start))
		}
	})
	for _, source := range []struct {
		fails bool
		limit time.Duration
	}{{true, 3 * time.Second}, {false, 15 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, registry.Settings{})
			defer f.Close()
			f.engine.Expect()
			start := time.Now()
			if source.fails {
				f.engine.SetOnline(false)
			}
			if f.WaitForSync(t.Context()); time.Since(start) != source.limit {
				t.Errorf("WaitForSync waited %s for a source that never reports (fails: %t), want %s", time.Since(start), source.fails, source.limit)
			}
		})
	}
}

// A cookie names a container by its ID, which only the Docker Engine reports.
func TestWaitersSeeWhatSourcesReported(t *testing.T) {
	for range 300 {
		f := newFixture(t, registry.Settings{})
		f.engine.Expect()
		f.dns.Expect()
		f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
		f.dns.SetOnline(true)
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		seen := make(chan bool)
		for range 4 {
			go func() {
				f.WaitForSync(t.Context())
				ids, _ := f.service.Identities()
				seen <- slices.Contains(ids, idA)
			}()
		}
		f.engine.SetOnline(true)
		for range 4 {
			if !<-seen {
				t.Fatal("WaitForSync returned before the Engine's report was applied")
			}
		}
	}
}

// On a busy machine, the edge may connect to the Docker Engine only after several seconds.
func TestStartupGraceBeginsAfterTheSlowestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newFixture(t, registry.Settings{Probe: probe})
		defer f.Close()
		f.engine.Expect()
		f.dns.Expect()
		f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
		f.dns.SetOnline(true)
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		time.Sleep(5 * time.Second)
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		f.engine.SetOnline(true)
		f.WaitForSync(t.Context())
		go func() {
			time.Sleep(2 * time.Second)
			probe.target(t, "10.0.0.1:80").ReportReady("ok")
		}()
		if id := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID(); id != idA {
			t.Errorf("the request went to %s", id)
		}
	})
}
