package registry_test

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// TestASwarmDecidesInPlaceOfTheEngine: it reports the state of its tasks, which DNS does not know.
func TestASwarmDecidesInPlaceOfTheEngine(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	swarm := f.Feed(registry.Swarm)
	swarm.Expect()
	f.dns.Set("api", []registry.Member{engineMember("10.0.0.1", "10.0.0.1"), engineMember("10.0.0.2", "10.0.0.2")})
	swarm.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), {ID: "service", Phase: registry.Stopped}})
	swarm.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 ready; ")
	if got := f.service.Status().Source; got != "swarm" {
		t.Errorf("the source is %q", got)
	}
	swarm.SetOnline(false)
	f.wantStates(t, "10.0.0.1:80 ready; ") // until DNS has looked again
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	f.wantStates(t, "10.0.0.2:80 ready; 10.0.0.1:80 ready; ")
	swarm.SetOnline(true)
	swarm.Clear()
	f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.2:80 ready; ")
}

// TestALostConnectionIsReported, for as long as it lasts: an alert waits for it. A source that is removed from the configuration is not reported, nor one that nobody
// requires, and that is not there.
func TestALostConnectionIsReported(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	engine, dns := f.Feed(registry.Engine), f.Feed(registry.DNS)
	want := func(what string, want map[string]bool) {
		t.Helper()
		if got := f.Connected(); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	engine.Expect()
	want("at the start", map[string]bool{"engine": false})
	engine.SetOnline(true)
	dns.SetOnline(true)
	want("connected", map[string]bool{"engine": true, "dns": true})
	engine.SetOnline(false)
	dns.SetOnline(false)
	want("both are lost", map[string]bool{"engine": false})
	engine.MarkStale()
	want("other settings", map[string]bool{"engine": false})
	engine.Clear()
	want("removed", map[string]bool{})
	engine.Expect()
	engine.SetOnline(false)
	want("it was never there", map[string]bool{"engine": false})
}

// TestATaskThatShallStopGetsNoRequests: a Swarm sends the signal some seconds later, so that a task which still serves proves nothing. Under
// Compose, such a container is one that ignores the signal.
func TestATaskThatShallStopGetsNoRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newFixture(t, registry.Settings{Probe: probe})
		defer f.Close()
		swarm := f.Feed(registry.Swarm)
		swarm.Expect()
		swarm.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		swarm.SetOnline(true)
		target := probe.target(t, "10.0.0.1:80")
		target.ReportReady("ok")
		if !f.canAcquire(nonReplayableRequest) {
			t.Fatal("the task is ready, and gets no request")
		}
		swarm.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1")})
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			target.ReportReady("ok")
			if f.canAcquire(replayableRequest) || f.canAcquire(nonReplayableRequest) {
				t.Fatal("the task shall stop, and gets requests")
			}
		}
		swarm.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")}) // the Swarm has changed its mind
		if !f.canAcquire(nonReplayableRequest) {
			t.Error("the task goes on, and gets no request")
		}
	})
}

// TestRequestsToAnUnreachableNodeAreAborted: its connections get no FIN.
func TestRequestsToAnUnreachableNodeAreAborted(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	swarm := f.Feed(registry.Swarm)
	swarm.Expect()
	swarm.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	swarm.SetOnline(true)
	claim, ok := f.service.TryAcquire(replayableRequest)
	if !ok {
		t.Fatal("no endpoint")
	}
	defer claim.Release()
	gone := engineMember(idA, "10.0.0.1")
	gone.Phase, gone.UnhealthyReason = registry.Unreachable, "the node n2 is down"
	swarm.Set("api", []registry.Member{gone})
	status := f.service.Status()
	if len(status.Endpoints) != 1 || status.Endpoints[0].Reason != "the node n2 is down" || !status.Known {
		t.Errorf("the service is %+v", status)
	}
	if conns := f.conns["10.0.0.1:80"][0]; conns.aborts == 0 {
		t.Error("the connections to the node were not aborted")
	}
}
