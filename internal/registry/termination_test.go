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

// newTerminatingFixture has one endpoint, whose container Docker has just told to stop.
func newTerminatingFixture(t *testing.T) (*fixture, registry.Target) {
	t.Helper()
	probe := newManualProbe()
	f := newFixture(t, registry.Settings{Probe: probe})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	time.Sleep(time.Minute)
	f.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
	return f, target
}

// canAcquire reports whether a request gets an endpoint without waiting.
func (f *fixture) canAcquire(opts registry.PickOptions) bool {
	claim, ok := f.service.TryAcquire(opts)
	if ok {
		claim.Release()
	}
	return ok
}

func TestContainerThatIgnoresSIGTERMKeepsServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, probe := newTerminatingFixture(t)
		defer f.Close()
		if f.canAcquire(replayableRequest) {
			t.Error("the endpoint takes requests before its probe has checked it again")
		}
		<-probe.CheckRequests() // sent by the registry soon after the signal
		probe.ReportReady("ok")
		if !f.canAcquire(replayableRequest) || f.canAcquire(nonReplayableRequest) {
			t.Errorf("right after the signal: replayable %t, not replayable %t; want only the first", f.canAcquire(replayableRequest), f.canAcquire(nonReplayableRequest))
		}
		for range 4 {
			<-probe.CheckRequests()
			probe.ReportReady("ok")
		}
		if !f.canAcquire(nonReplayableRequest) {
			t.Error("it takes no POST although its probe passed a second after the signal")
		}
		if f.canAcquire(registry.PickOptions{Replayable: true, Upgrade: true}) {
			t.Error("it takes a WebSocket, which would have to be closed at once")
		}
		claim, _ := f.service.TryAcquire(replayableRequest)
		if !claim.Endpoint().IsStopExpected() {
			t.Error("no stop is expected although the container was told to stop")
		}
		claim.Release()
	})
}

func TestSignsOfStoppingEndRequestsToTheContainer(t *testing.T) {
	for name, report := range map[string]func(*fixture, registry.Target, registry.Claim){
		"failed check":   func(_ *fixture, probe registry.Target, _ registry.Claim) { probe.ReportFailedCheck() },
		"failing":        func(_ *fixture, probe registry.Target, _ registry.Claim) { probe.ReportFailing("status 503") },
		"dial error":     func(_ *fixture, _ registry.Target, c registry.Claim) { c.ReportDialError("connection refused") },
		"failed request": func(_ *fixture, _ registry.Target, c registry.Claim) { c.ReportFailure("status 503", netip.Addr{}) },
		"no check":       func(*fixture, registry.Target, registry.Claim) { time.Sleep(time.Second) },
		"operator's drain": func(f *fixture, _ registry.Target, _ registry.Claim) {
			_, _ = f.Drain([]string{idA}, registry.DrainOptions{})
		},
		"end of the process": func(f *fixture, _ registry.Target, _ registry.Claim) {
			f.engine.Set("api", []registry.Member{stoppedMember(idA)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, probe := newTerminatingFixture(t)
				defer f.Close()
				<-probe.CheckRequests()
				probe.ReportReady("ok")
				claim, ok := f.service.TryAcquire(replayableRequest)
				if !ok {
					t.Fatal("the endpoint takes no requests")
				}
				report(f, probe, claim)
				claim.Release()
				if f.canAcquire(replayableRequest) {
					t.Error("the endpoint still takes requests")
				}
			})
		})
	}
}

func TestHeldRequestGoesToAContainerThatStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, probe := newTerminatingFixture(t)
		defer f.Close()
		start := time.Now()
		got := make(chan time.Duration)
		go func() {
			claim, err := f.service.Acquire(t.Context(), replayableRequest)
			if err != nil {
				t.Error(err)
			} else {
				claim.Release()
			}
			got <- time.Since(start)
		}()
		<-probe.CheckRequests()
		probe.ReportReady("ok")
		if after := <-got; after > 500*time.Millisecond {
			t.Errorf("the request waited %s", after)
		}
	})
}

func TestDrainedTerminatingContainerGetsNoRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newFixture(t, registry.Settings{Probe: probe})
		defer f.Close()
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		f.engine.SetOnline(true)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		if _, err := f.Drain([]string{idA}, registry.DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		f.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
		time.Sleep(time.Second)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		if f.canAcquire(replayableRequest) {
			t.Error("the endpoint takes requests although an operator has drained it")
		}
	})
}

func TestReadyContainerIsPreferredToATerminatingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newFixture(t, registry.Settings{Probe: probe})
		defer f.Close()
		f.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		f.engine.SetOnline(true)
		probe.target(t, "10.0.0.1:80").ReportReady("ok")
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		for range 50 {
			if id := f.mustAcquire(t, replayableRequest).Endpoint().ID(); id != idB {
				t.Fatalf("a request went to %s", id)
			}
		}
	})
}

// When Docker kills a terminating container that has served until then, the hold time must not be over already.
func TestHoldTimeBeginsWhenNoEndpointServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newFixture(t, registry.Settings{Probe: probe, Hold: 2 * time.Second})
		defer f.Close()
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		f.engine.SetOnline(true)
		target := probe.target(t, "10.0.0.1:80")
		target.ReportReady("ok")
		f.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
		for range 40 { // ten seconds
			<-target.CheckRequests()
			target.ReportReady("ok")
			if !f.canAcquire(replayableRequest) {
				t.Fatal("the endpoint takes no requests")
			}
		}
		f.engine.Set("api", []registry.Member{stoppedMember(idA)})
		result := f.acquireAsync(t.Context())
		time.Sleep(time.Second)
		f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		if got := <-result; got.err != nil {
			t.Error(got.err)
		}
	})
}

func TestCanceledStopMakesTheEndpointReadyAgain(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{terminatingMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 draining; ")
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestCanceledStopIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newTerminatingFixture(t)
		defer f.Close()
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		claim := f.mustAcquire(t, nonReplayableRequest)
		if claim.Endpoint().IsStopExpected() {
			t.Error("a stop is still expected")
		}
		claim.Release()
	})
}
