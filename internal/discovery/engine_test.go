package discovery_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// eventuallyInPhase waits until the only member of api is in a phase.
func (r *recordingSink) eventuallyInPhase(t *testing.T, want registry.Phase) {
	t.Helper()
	r.eventually(t, "api "+string(want), func() bool {
		return len(r.names["api"]) == 1 && r.names["api"][0].Phase == want
	})
}

func TestKillEventMarksContainerTerminating(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	w.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	r.eventuallyInPhase(t, registry.Terminating)
	w.put("a", "", func(c *container.Summary) { c.State = container.StateExited })
	w.emit(events.ActionDie, "a", nil)
	r.eventuallyInPhase(t, registry.Stopped)
	w.put("a", "10.0.0.9", nil)
	w.emit(events.ActionStart, "a", nil)
	r.eventuallyServes(t, "10.0.0.9")
}

// TestStopIsPublishedWhenDeathArrivesWithIt: what a request's end means depends on it.
func TestStopIsPublishedWhenDeathArrivesWithIt(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	var left atomic.Bool
	r.mu.Lock()
	r.onSet = func(name string, members []registry.Member) {
		if name == "api" && len(members) == 1 && members[0].Phase == registry.Terminating {
			left.Store(true)
		}
	}
	r.mu.Unlock()
	w.emitAll(events.Message{Type: events.ContainerEventType, Action: events.ActionKill, Actor: events.Actor{ID: "a", Attributes: map[string]string{"signal": "15"}}},
		events.Message{Type: events.ContainerEventType, Action: events.ActionDie, Actor: events.Actor{ID: "a"}})
	r.eventuallyInPhase(t, registry.Stopped)
	if !left.Load() {
		t.Error("the stop was not seen")
	}
}

func TestEngineGoesOfflineOnlyAfterReconnectGrace(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	var offline atomic.Bool
	r.mu.Lock()
	r.onOffline = func() { offline.Store(true) }
	r.mu.Unlock()
	w.goDown()
	w.goUp()
	w.put("b", "10.0.0.8", nil)
	w.emit(events.ActionStart, "b", nil)
	r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
	if offline.Load() {
		t.Error("a cut of a moment handed over to DNS")
	}
	w.goDown()
	r.eventually(t, "offline", func() bool { return !r.online })
}

func TestStopIsNotDelayedBySlowList(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	hold := make(chan struct{})
	w.mu.Lock()
	w.listGate = hold
	w.mu.Unlock()
	defer close(hold)
	w.emit(events.ActionUpdate, "a", nil) // makes the source list it, which does not come back
	w.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	r.eventuallyInPhase(t, registry.Terminating)
}

func TestOwnProjectIsDetectedFromLaterList(t *testing.T) {
	w := newFakeEngine(t)
	w.remove("edge")
	w.put("a", "10.0.0.7", nil)
	w.put("b", "10.0.0.8", func(c *container.Summary) { c.Labels["com.docker.compose.project"] = "q" })
	r := run(t, w)
	r.eventually(t, "the problem", func() bool { return r.problems["api"] != "" })
	w.put("edge", "10.0.0.2", func(c *container.Summary) { c.Labels["com.docker.compose.service"] = "edge" })
	w.emit(events.ActionStart, "edge", nil)
	r.eventuallyServes(t, "10.0.0.7")
}

func TestDieEventOverridesStaleList(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	w.emit(events.ActionDie, "a", nil) // the list still says that it runs
	r.eventuallyInPhase(t, registry.Stopped)
	w.emit(events.ActionUpdate, "a", nil) // makes the source list it
	w.put("b", "10.0.0.8", nil)
	w.emit(events.ActionStart, "b", nil)
	r.eventuallyServes(t, "10.0.0.8")
	w.emit(events.ActionStart, "a", nil)
	r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
}

func TestOnlyStopSignalsMarkTerminating(t *testing.T) {
	for _, c := range []struct {
		signal, label string
		options       []string
		leaves        bool
	}{
		{signal: "15", leaves: true},
		{signal: "3", leaves: true},
		{signal: "9", leaves: true},
		{signal: "SIGTERM", leaves: true},
		{signal: "1"},
		{signal: "10"},
		{signal: "12"},
		{signal: "28"},
		{signal: "SIGHUP"},
		{signal: "WINCH"},
		{signal: "28", options: []string{"SIGWINCH"}, leaves: true},
		{signal: "28", options: []string{"usr1"}},
		{signal: "10", label: "USR1,HUP", leaves: true},
		{signal: "1", label: "1", leaves: true},
	} {
		t.Run(c.signal+c.label+strings.Join(c.options, ""), func(t *testing.T) {
			w := newFakeEngine(t)
			w.put("a", "10.0.0.7", nil)
			source := w.newSource().(discovery.Engine)
			source.StopSignals = c.options
			r := runSource(t, source)
			r.eventuallyServes(t, "10.0.0.7")
			attributes := map[string]string{"signal": c.signal}
			if c.label != "" {
				attributes["edge.stop_signals"] = c.label
			}
			w.emit(events.ActionKill, "a", attributes)
			w.put("b", "10.0.0.8", nil) // what comes behind shows that the signal was seen
			w.emit(events.ActionStart, "b", nil)
			if c.leaves {
				r.eventuallyServes(t, "10.0.0.8")
			} else {
				r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
			}
		})
	}
}

func TestTerminationExpiresIfContainerKeepsRunning(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	source := w.newSource().(discovery.Engine)
	source.TerminationTimeout = 50 * time.Millisecond
	r := runSource(t, source)
	r.eventuallyServes(t, "10.0.0.7")
	w.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	r.eventuallyInPhase(t, registry.Terminating)
	r.eventuallyInPhase(t, registry.Running)
}

func TestStopDuringOutageIsSeenAfterReconnect(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	w.goDown()
	w.emit(events.ActionKill, "a", map[string]string{"signal": "15"}) // the list can't show it
	w.goUp()
	r.eventuallyInPhase(t, registry.Terminating)
}

func TestContainerStatusBecomesUnhealthyReason(t *testing.T) {
	for status, want := range map[string]string{
		"Up 2 minutes (unhealthy)":        "Docker's health check says unhealthy",
		"Up 2 minutes (healthy)":          "",
		"Up 2 minutes (health: starting)": "",
		"Up 2 minutes (Paused)":           "its container is paused",
	} {
		w := newFakeEngine(t)
		w.put("a", "10.0.0.7", func(c *container.Summary) { c.Status = status })
		r := run(t, w)
		r.eventually(t, status, func() bool { return len(r.names["api"]) == 1 && r.names["api"][0].UnhealthyReason == want })
	}
}

func TestPauseAndHealthEventsOverrideStaleList(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	for _, step := range []struct {
		action events.Action
		want   string
		status string // what the list says a little later
	}{
		{events.ActionPause, "its container is paused", "Up (Paused)"},
		{events.ActionUnPause, "", "Up"},
		{events.ActionHealthStatusUnhealthy, "Docker's health check says unhealthy", "Up (unhealthy)"},
		{events.ActionHealthStatusHealthy, "", "Up (healthy)"},
	} {
		w.emit(step.action, "a", nil)
		r.eventually(t, string(step.action), func() bool { return len(r.names["api"]) == 1 && r.names["api"][0].UnhealthyReason == step.want })
		w.put("a", "10.0.0.7", func(c *container.Summary) { c.Status = step.status })
	}
}

func TestStartIsSeenWhenListLags(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "", func(c *container.Summary) { c.State = container.StateCreated })
	r := run(t, w)
	r.eventuallyInPhase(t, registry.Stopped)
	w.emit(events.ActionStart, "a", nil)
	w.mu.Lock()
	lists := w.listCount
	w.mu.Unlock()
	eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.listCount > lists // it was listed, and not running yet
	})
	w.put("a", "10.0.0.7", nil)
	r.eventuallyServes(t, "10.0.0.7")
}

// eventually waits for a condition that no channel tells of.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not within 10 s")
		}
	}
}

func TestOnlyOwnProjectAndNetworksAreUsed(t *testing.T) {
	w := newFakeEngine(t)
	w.put("mine", "10.0.0.7", nil)
	w.put("theirs", "10.0.0.8", func(c *container.Summary) { c.Labels["com.docker.compose.project"] = "q" })
	w.put("elsewhere", "192.168.9.9", nil)
	w.put("oneoff", "10.0.0.9", func(c *container.Summary) { c.Labels["com.docker.compose.oneoff"] = "True" })
	r := run(t, w)
	r.eventuallyServes(t, "10.0.0.7")
	r.eventually(t, "the problem", func() bool { return strings.Contains(r.problems["api"], "project q answers to api too") })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.names["api"]) != 2 { // the one elsewhere is known, but out of reach
		t.Errorf("members: %v", r.names["api"])
	}
}

func TestNameInTwoProjectsIsRejectedWithoutOwnProject(t *testing.T) {
	w := newFakeEngine(t)
	w.remove("edge")
	w.put("a", "10.0.0.7", nil)
	w.put("b", "10.0.0.8", func(c *container.Summary) { c.Labels["com.docker.compose.project"] = "q" })
	r := run(t, w)
	r.eventually(t, "the problem", func() bool {
		return strings.Contains(r.problems["api"], "projects p, q all answer to api; set `project`") && len(r.names["api"]) == 0
	})
}

func TestTheConfiguredProjectAndNetworkAreUsed(t *testing.T) {
	w := newFakeEngine(t)
	w.put("a", "10.0.0.7", nil)
	w.put("b", "10.0.0.8", func(c *container.Summary) {
		c.Labels["com.docker.compose.project"] = "q"
		c.NetworkSettings.Networks["other"] = &network.EndpointSettings{IPAddress: netip.MustParseAddr("172.30.0.8")}
	})
	source := w.newSource().(discovery.Engine)
	source.Project, source.Networks = "q", []string{"other"}
	runSource(t, source).eventuallyServes(t, "172.30.0.8")
}

func TestEventBurstCausesFewLists(t *testing.T) {
	w := newFakeEngine(t)
	r := run(t, w)
	r.eventually(t, "online", func() bool { return r.online })
	w.mu.Lock()
	before := w.listCount
	w.mu.Unlock()
	var addrs []string
	for i := range 200 {
		addr := fmt.Sprintf("10.0.0.%d", i+20)
		addrs = append(addrs, addr)
		w.put("c"+addr, addr, nil)
		w.emit(events.ActionStart, "c"+addr, nil)
	}
	r.eventuallyServes(t, addrs...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if lists := w.listCount - before; lists > 100 {
		t.Errorf("200 events cost %d lists", lists)
	}
}

func TestCheckDockerHost(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"unix:///var/run/docker.sock": true, "tcp://docker-guard:2375": true,
		"docker-guard:2375": false, "http://docker-guard:2375": false, "tcp://": false, "unix://": false, "ssh://host": false,
	} {
		if err := discovery.CheckDockerHost(endpoint); (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
