package registry_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

var (
	repeatable = registry.Want{Repeatable: true}
	once       = registry.Want{}
)

// leaving is a container that was told to stop.
func leaving(id, addr string) registry.Member {
	m := box(id, addr)
	m.Phase = registry.Leaving
	return m
}

// stopping starts a service whose only container has just been told to stop by Docker.
func stopping(t *testing.T) (*stack, registry.Target) {
	t.Helper()
	probe := newManual()
	s := newStack(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
	s.engine.Online(true)
	target := probe.target(t, "10.0.0.1:80")
	target.Answers("ok")
	time.Sleep(time.Minute)
	s.engine.Set("api", []registry.Member{leaving(idA, "10.0.0.1")})
	return s, target
}

// takes reports whether a request goes to an endpoint now.
func (s *stack) takes(w registry.Want) bool {
	claim, ok := s.service.TryAcquire(w)
	if ok {
		claim.Release()
	}
	return ok
}

func TestAContainerThatIgnoresItsStopGoesOnServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, probe := stopping(t)
		defer s.Close()
		if s.takes(repeatable) {
			t.Error("it takes requests before its probe has looked again")
		}
		<-probe.Poked() // by itself, soon after the signal
		probe.Answers("ok")
		if !s.takes(repeatable) || s.takes(once) {
			t.Errorf("right after the signal: repeatable %t, once %t; want only the first", s.takes(repeatable), s.takes(once))
		}
		for range 4 {
			<-probe.Poked()
			probe.Answers("ok")
		}
		if !s.takes(once) {
			t.Error("its probe passed a second after the signal: a POST is safe there")
		}
		if s.takes(registry.Want{Repeatable: true, Upgrade: true}) {
			t.Error("a WebSocket was opened that must be closed at once")
		}
		claim, _ := s.service.TryAcquire(repeatable)
		if !claim.Endpoint().IsTerminating() {
			t.Error("the endpoint doesn't tell that its container was told to stop")
		}
		claim.Release()
	})
}

func TestWhatShowsThatAContainerStopsEndsItsService(t *testing.T) {
	for name, show := range map[string]func(*stack, registry.Target, registry.Claim){
		"a failed check":      func(_ *stack, probe registry.Target, _ registry.Claim) { probe.Misses() },
		"checks that fail":    func(_ *stack, probe registry.Target, _ registry.Claim) { probe.Fails("status 503") },
		"a refused dial":      func(_ *stack, _ registry.Target, c registry.Claim) { c.Refused("connection refused") },
		"a bad answer":        func(_ *stack, _ registry.Target, c registry.Claim) { c.Badly("status 503", netip.Addr{}) },
		"a probe that stalls": func(*stack, registry.Target, registry.Claim) { time.Sleep(time.Second) },
		"an operator's drain": func(s *stack, _ registry.Target, _ registry.Claim) { _, _ = s.Drain([]string{idA}, registry.Drain{}) },
		"the end of the process": func(s *stack, _ registry.Target, _ registry.Claim) {
			s.engine.Set("api", []registry.Member{stopped(idA)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, probe := stopping(t)
				defer s.Close()
				<-probe.Poked()
				probe.Answers("ok")
				claim, ok := s.service.TryAcquire(repeatable)
				if !ok {
					t.Fatal("it does not serve")
				}
				show(s, probe, claim)
				claim.Release()
				if s.takes(repeatable) {
					t.Error("it still takes requests")
				}
			})
		})
	}
}

func TestAHeldRequestGoesToAContainerThatStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, probe := stopping(t)
		defer s.Close()
		began := time.Now()
		got := make(chan time.Duration)
		go func() {
			claim, err := s.service.Acquire(t.Context(), repeatable)
			if err != nil {
				t.Error(err)
			} else {
				claim.Release()
			}
			got <- time.Since(began)
		}()
		<-probe.Poked()
		probe.Answers("ok")
		if after := <-got; after > 500*time.Millisecond {
			t.Errorf("it waited %s", after)
		}
	})
}

func TestARolloutsContainerGetsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := newStack(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
		s.engine.Online(true)
		probe.target(t, "10.0.0.1:80").Answers("ok")
		if _, err := s.Drain([]string{idA}, registry.Drain{}); err != nil {
			t.Fatal(err)
		}
		s.engine.Set("api", []registry.Member{leaving(idA, "10.0.0.1")})
		time.Sleep(time.Second)
		probe.target(t, "10.0.0.1:80").Answers("ok")
		if s.takes(repeatable) {
			t.Error("an operator's drain lets requests in")
		}
	})
}

func TestAReadyContainerIsPreferredToOneThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := newStack(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Set("api", []registry.Member{leaving(idA, "10.0.0.1"), box(idB, "10.0.0.2")})
		s.engine.Online(true)
		probe.target(t, "10.0.0.1:80").Answers("ok")
		probe.target(t, "10.0.0.2:80").Answers("ok")
		for range 50 {
			if id := s.claim(t, repeatable).Endpoint().ID(); id != idB {
				t.Fatalf("it went to %s", id)
			}
		}
	})
}

// TestTheHoldTimeBeginsWhenNothingServes: it must not be over already when Docker kills what has served until then.
func TestTheHoldTimeBeginsWhenNothingServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := newStack(t, registry.Settings{Probe: probe, Hold: 2 * time.Second})
		defer s.Close()
		s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
		s.engine.Online(true)
		target := probe.target(t, "10.0.0.1:80")
		target.Answers("ok")
		s.engine.Set("api", []registry.Member{leaving(idA, "10.0.0.1")})
		for range 40 { // ten seconds
			<-target.Poked()
			target.Answers("ok")
			if !s.takes(repeatable) {
				t.Fatal("it does not serve")
			}
		}
		s.engine.Set("api", []registry.Member{stopped(idA)})
		result := s.wait(t.Context())
		time.Sleep(time.Second)
		s.engine.Set("api", []registry.Member{box(idB, "10.0.0.2")})
		probe.target(t, "10.0.0.2:80").Answers("ok")
		if got := <-result; got.err != nil {
			t.Error(got.err)
		}
	})
}

func TestAStopThatIsTakenBackIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := stopping(t)
		defer s.Close()
		s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
		claim := s.claim(t, once)
		if claim.Endpoint().IsTerminating() {
			t.Error("it counts as told to stop")
		}
		claim.Release()
	})
}
