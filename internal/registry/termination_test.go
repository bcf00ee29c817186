package registry_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

var (
	replayableRequest    = registry.PickOptions{Replayable: true}
	nonReplayableRequest = registry.PickOptions{}
)

// terminatingMember is a container that was told to stop.
func terminatingMember(id, addr string) registry.Member {
	m := engineMember(id, addr)
	m.Phase = registry.Terminating
	return m
}

// newTerminatingFixture starts a service whose only container has just been told to stop by Docker.
func newTerminatingFixture(t *testing.T) (*fixture, registry.Target) {
	t.Helper()
	probe := newManualProbe()
	s := newFixture(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	s.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	time.Sleep(time.Minute)
	s.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
	return s, target
}

// canAcquire reports whether a request goes to an endpoint now.
func (s *fixture) canAcquire(w registry.PickOptions) bool {
	claim, ok := s.service.TryAcquire(w)
	if ok {
		claim.Release()
	}
	return ok
}

func TestContainerThatIgnoresSIGTERMKeepsServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, probe := newTerminatingFixture(t)
		defer s.Close()
		if s.canAcquire(replayableRequest) {
			t.Error("it takes requests before its probe has looked again")
		}
		<-probe.CheckRequests() // by itself, soon after the signal
		probe.ReportReady("ok")
		if !s.canAcquire(replayableRequest) || s.canAcquire(nonReplayableRequest) {
			t.Errorf("right after the signal: repeatable %t, once %t; want only the first", s.canAcquire(replayableRequest), s.canAcquire(nonReplayableRequest))
		}
		for range 4 {
			<-probe.CheckRequests()
			probe.ReportReady("ok")
		}
		if !s.canAcquire(nonReplayableRequest) {
			t.Error("its probe passed a second after the signal: a POST is safe there")
		}
		if s.canAcquire(registry.PickOptions{Replayable: true, Upgrade: true}) {
			t.Error("a WebSocket was opened that must be closed at once")
		}
		claim, _ := s.service.TryAcquire(replayableRequest)
		if !claim.Endpoint().IsStopExpected() {
			t.Error("the endpoint doesn't tell that its container was told to stop")
		}
		claim.Release()
	})
}

func TestSignsOfStoppingEndRequestsToTheContainer(t *testing.T) {
	for name, show := range map[string]func(*fixture, registry.Target, registry.Claim){
		"a failed check":      func(_ *fixture, probe registry.Target, _ registry.Claim) { probe.ReportFailedCheck() },
		"checks that fail":    func(_ *fixture, probe registry.Target, _ registry.Claim) { probe.ReportFailing("status 503") },
		"a refused dial":      func(_ *fixture, _ registry.Target, c registry.Claim) { c.ReportDialError("connection refused") },
		"a bad answer":        func(_ *fixture, _ registry.Target, c registry.Claim) { c.ReportFailure("status 503", netip.Addr{}) },
		"a probe that stalls": func(*fixture, registry.Target, registry.Claim) { time.Sleep(time.Second) },
		"an operator's drain": func(s *fixture, _ registry.Target, _ registry.Claim) {
			_, _ = s.Drain([]string{idA}, registry.DrainOptions{})
		},
		"the end of the process": func(s *fixture, _ registry.Target, _ registry.Claim) {
			s.engine.Set("api", []registry.Member{stoppedMember(idA)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, probe := newTerminatingFixture(t)
				defer s.Close()
				<-probe.CheckRequests()
				probe.ReportReady("ok")
				claim, ok := s.service.TryAcquire(replayableRequest)
				if !ok {
					t.Fatal("it does not serve")
				}
				show(s, probe, claim)
				claim.Release()
				if s.canAcquire(replayableRequest) {
					t.Error("it still takes requests")
				}
			})
		})
	}
}

func TestAHeldRequestGoesToAContainerThatStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, probe := newTerminatingFixture(t)
		defer s.Close()
		began := time.Now()
		got := make(chan time.Duration)
		go func() {
			claim, err := s.service.Acquire(t.Context(), replayableRequest)
			if err != nil {
				t.Error(err)
			} else {
				claim.Release()
			}
			got <- time.Since(began)
		}()
		<-probe.CheckRequests()
		probe.ReportReady("ok")
		if after := <-got; after > 500*time.Millisecond {
			t.Errorf("it waited %s", after)
		}
	})
}

func TestDrainedTerminatingContainerGetsNoRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newFixture(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		s.engine.SetOnline(true)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		if _, err := s.Drain([]string{idA}, registry.DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		s.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
		time.Sleep(time.Second)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		if s.canAcquire(replayableRequest) {
			t.Error("an operator's drain lets requests in")
		}
	})
}

func TestReadyContainerIsPreferredToATerminatingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newFixture(t, registry.Settings{Probe: probe})
		defer s.Close()
		s.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		s.engine.SetOnline(true)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		for range 50 {
			if id := s.mustAcquire(t, replayableRequest).Endpoint().ID(); id != idB {
				t.Fatalf("it went to %s", id)
			}
		}
	})
}

// TestTheHoldTimeBeginsWhenNothingServes: it must not be over already when Docker kills what has served until then.
func TestTheHoldTimeBeginsWhenNothingServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newFixture(t, registry.Settings{Probe: probe, Hold: 2 * time.Second})
		defer s.Close()
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		s.engine.SetOnline(true)
		target := probe.target(t, "10.0.0.1:80")
		target.ReportReady("ok")
		s.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
		for range 40 { // ten seconds
			<-target.CheckRequests()
			target.ReportReady("ok")
			if !s.canAcquire(replayableRequest) {
				t.Fatal("it does not serve")
			}
		}
		s.engine.Set("api", []registry.Member{stoppedMember(idA)})
		result := s.acquireAsync(t.Context())
		time.Sleep(time.Second)
		s.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		if got := <-result; got.err != nil {
			t.Error(got.err)
		}
	})
}

func TestCanceledStopIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newTerminatingFixture(t)
		defer s.Close()
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		claim := s.mustAcquire(t, nonReplayableRequest)
		if claim.Endpoint().IsStopExpected() {
			t.Error("it counts as told to stop")
		}
		claim.Release()
	})
}
