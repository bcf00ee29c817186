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
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/registry"
)

// eventuallyInPhase waits until the only member of api is in a phase.
func eventuallyInPhase(t *testing.T, r *sourcetest.Sink, want registry.Phase) {
	t.Helper()
	r.Eventually(t, "api "+string(want), func(s sourcetest.State) bool {
		return len(s.Members["api"]) == 1 && s.Members["api"][0].Phase == want
	})
}

func TestKillEventMarksContainerTerminating(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	engine.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	eventuallyInPhase(t, r, registry.Terminating)
	engine.put("a", "", func(c *container.Summary) { c.State = container.StateExited })
	engine.emit(events.ActionDie, "a", nil)
	eventuallyInPhase(t, r, registry.Stopped)
	engine.put("a", "10.0.0.9", nil)
	engine.emit(events.ActionStart, "a", nil)
	r.EventuallyServes(t, "10.0.0.9")
}

// TestStopIsPublishedWhenDeathArrivesWithIt: how the end of a request is understood depends on the stop.
func TestStopIsPublishedWhenDeathArrivesWithIt(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	var sawTerminating atomic.Bool
	r.OnSet(func(name string, members []registry.Member) {
		if name == "api" && len(members) == 1 && members[0].Phase == registry.Terminating {
			sawTerminating.Store(true)
		}
	})
	engine.emitAll(events.Message{Type: events.ContainerEventType, Action: events.ActionKill, Actor: events.Actor{ID: "a", Attributes: map[string]string{"signal": "15"}}},
		events.Message{Type: events.ContainerEventType, Action: events.ActionDie, Actor: events.Actor{ID: "a"}})
	eventuallyInPhase(t, r, registry.Stopped)
	if !sawTerminating.Load() {
		t.Error("the container was never published as terminating")
	}
}

// TestTheLagOfEachEventIsReported, once it has taken effect: of a stop at once, of a start when its container has been listed.
func TestTheLagOfEachEventIsReported(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	source := engine.NewSource().(discovery.Engine)
	lags := make(chan time.Duration, 10)
	source.OnApplied = func(lag time.Duration) { lags <- lag }
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	want := func(event string) {
		t.Helper()
		select {
		case lag := <-lags:
			if lag < 0 || lag > 5*time.Second {
				t.Errorf("the lag of the %s is %v", event, lag)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no lag is reported for the %s", event)
		}
	}
	engine.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	want("stop")
	engine.emit(events.ActionDie, "a", nil)
	want("end")
	engine.put("b", "10.0.0.8", nil)
	engine.emit(events.ActionStart, "b", nil)
	want("start")
	select {
	case lag := <-lags:
		t.Errorf("a lag of %v is reported of no event", lag)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestEngineGoesOfflineOnlyAfterReconnectGrace(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	var offline atomic.Bool
	r.OnOffline(func() { offline.Store(true) })
	engine.GoDown()
	engine.GoUp()
	engine.put("b", "10.0.0.8", nil)
	engine.emit(events.ActionStart, "b", nil)
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	if offline.Load() {
		t.Error("a reconnect within the grace made the source go offline")
	}
	engine.GoDown()
	r.Eventually(t, "offline", func(s sourcetest.State) bool { return !s.IsOnline })
}

func TestStopIsNotDelayedBySlowList(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	gate := make(chan struct{})
	engine.mu.Lock()
	engine.listGate = gate
	engine.mu.Unlock()
	defer close(gate)
	engine.emit(events.ActionUpdate, "a", nil) // the source lists the container, and gets no response
	engine.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	eventuallyInPhase(t, r, registry.Terminating)
}

func TestOwnProjectIsDetectedFromLaterList(t *testing.T) {
	engine := newFakeEngine(t)
	engine.remove("edge")
	engine.put("a", "10.0.0.7", nil)
	engine.put("b", "10.0.0.8", func(c *container.Summary) { c.Labels["com.docker.compose.project"] = "q" })
	r := sourcetest.Start(t, engine.NewSource())
	r.Eventually(t, "problem of api", func(s sourcetest.State) bool { return s.Problems["api"] != "" })
	engine.put("edge", "10.0.0.2", func(c *container.Summary) { c.Labels["com.docker.compose.service"] = "edge" })
	engine.emit(events.ActionStart, "edge", nil)
	r.EventuallyServes(t, "10.0.0.7")
}

func TestDieEventOverridesStaleList(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	engine.emit(events.ActionDie, "a", nil) // the list still shows it as running
	eventuallyInPhase(t, r, registry.Stopped)
	engine.emit(events.ActionUpdate, "a", nil) // the source lists the container
	engine.put("b", "10.0.0.8", nil)
	engine.emit(events.ActionStart, "b", nil)
	r.EventuallyServes(t, "10.0.0.8")
	engine.emit(events.ActionStart, "a", nil)
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
}

func TestOnlyStopSignalsMarkTerminating(t *testing.T) {
	for _, c := range []struct {
		signal, label string
		options       []string
		isStop        bool
	}{
		{signal: "15", isStop: true},
		{signal: "3", isStop: true},
		{signal: "9", isStop: true},
		{signal: "SIGTERM", isStop: true},
		{signal: "1"},
		{signal: "10"},
		{signal: "12"},
		{signal: "28"},
		{signal: "SIGHUP"},
		{signal: "WINCH"},
		{signal: "28", options: []string{"SIGWINCH"}, isStop: true},
		{signal: "28", options: []string{"usr1"}},
		{signal: "10", label: "USR1,HUP", isStop: true},
		{signal: "1", label: "1", isStop: true},
	} {
		t.Run(c.signal+c.label+strings.Join(c.options, ""), func(t *testing.T) {
			engine := newFakeEngine(t)
			engine.put("a", "10.0.0.7", nil)
			source := engine.NewSource().(discovery.Engine)
			source.StopSignals = c.options
			r := sourcetest.Start(t, source)
			r.EventuallyServes(t, "10.0.0.7")
			attributes := map[string]string{"signal": c.signal}
			if c.label != "" {
				attributes["edge.stop_signals"] = c.label
			}
			engine.emit(events.ActionKill, "a", attributes)
			engine.put("b", "10.0.0.8", nil) // a later event, which shows that the signal was processed
			engine.emit(events.ActionStart, "b", nil)
			if c.isStop {
				r.EventuallyServes(t, "10.0.0.8")
			} else {
				r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
			}
		})
	}
}

func TestTerminationExpiresIfContainerKeepsRunning(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	source := engine.NewSource().(discovery.Engine)
	source.TerminationTimeout = 50 * time.Millisecond
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	engine.emit(events.ActionKill, "a", map[string]string{"signal": "15"})
	eventuallyInPhase(t, r, registry.Terminating)
	eventuallyInPhase(t, r, registry.Running)
}

func TestStopDuringOutageIsSeenAfterReconnect(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	engine.GoDown()
	engine.emit(events.ActionKill, "a", map[string]string{"signal": "15"}) // only the event shows it
	engine.GoUp()
	eventuallyInPhase(t, r, registry.Terminating)
}

func TestContainerStatusBecomesUnhealthyReason(t *testing.T) {
	for status, want := range map[string]string{
		"Up 2 minutes (unhealthy)":        "Docker's health check says unhealthy",
		"Up 2 minutes (healthy)":          "",
		"Up 2 minutes (health: starting)": "",
		"Up 2 minutes (Paused)":           "its container is paused",
	} {
		engine := newFakeEngine(t)
		engine.put("a", "10.0.0.7", func(c *container.Summary) { c.Status = status })
		r := sourcetest.Start(t, engine.NewSource())
		r.Eventually(t, status, func(s sourcetest.State) bool {
			return len(s.Members["api"]) == 1 && s.Members["api"][0].UnhealthyReason == want
		})
	}
}

func TestPauseAndHealthEventsOverrideStaleList(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	for _, step := range []struct {
		action events.Action
		want   string
		status string // in the list, a little later
	}{
		{events.ActionPause, "its container is paused", "Up (Paused)"},
		{events.ActionUnPause, "", "Up"},
		{events.ActionHealthStatusUnhealthy, "Docker's health check says unhealthy", "Up (unhealthy)"},
		{events.ActionHealthStatusHealthy, "", "Up (healthy)"},
	} {
		engine.emit(step.action, "a", nil)
		r.Eventually(t, string(step.action), func(s sourcetest.State) bool {
			return len(s.Members["api"]) == 1 && s.Members["api"][0].UnhealthyReason == step.want
		})
		engine.put("a", "10.0.0.7", func(c *container.Summary) { c.Status = step.status })
	}
}

func TestStartIsSeenWhenListLags(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "", func(c *container.Summary) { c.State = container.StateCreated })
	r := sourcetest.Start(t, engine.NewSource())
	eventuallyInPhase(t, r, registry.Stopped)
	engine.emit(events.ActionStart, "a", nil)
	engine.mu.Lock()
	before := engine.listCount
	engine.mu.Unlock()
	eventually(t, func() bool {
		engine.mu.Lock()
		defer engine.mu.Unlock()
		return engine.listCount > before // it was listed before it was running
	})
	engine.put("a", "10.0.0.7", nil)
	r.EventuallyServes(t, "10.0.0.7")
}

// eventually polls a condition.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the condition does not hold after 10 s")
		}
	}
}

func TestOnlyOwnProjectAndNetworksAreUsed(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("mine", "10.0.0.7", nil)
	engine.put("theirs", "10.0.0.8", func(c *container.Summary) { c.Labels["com.docker.compose.project"] = "q" })
	engine.put("unreachable", "192.168.9.9", nil)
	engine.put("oneoff", "10.0.0.9", func(c *container.Summary) { c.Labels["com.docker.compose.oneoff"] = "True" })
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	r.Eventually(t, "problem of api", func(s sourcetest.State) bool {
		return strings.Contains(s.Problems["api"], "project q answers to api too")
	})
	s := r.State()
	if len(s.Members["api"]) != 2 { // the unreachable one is a member too
		t.Errorf("members %v, want two", s.Members["api"])
	}
}

// TestContainersOfADrillAreIgnored: to an edge that serves all projects, they would be a second application of the same name.
func TestContainersOfADrillAreIgnored(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("drill", "10.0.0.8", func(c *container.Summary) {
		c.Labels["com.docker.compose.project"], c.Labels["edge.drill"] = "q", "true"
	})
	engine.put("mine", "10.0.0.7", nil)
	source := engine.NewSource().(discovery.Engine)
	source.Projects = []string{discovery.AnyProject}
	r := sourcetest.Start(t, source)
	r.EventuallyServes(t, "10.0.0.7")
	s := r.State()
	if s.Problems["api"] != "" || len(s.Members["api"]) != 1 {
		t.Errorf("members %v, problem %q", s.Members["api"], s.Problems["api"])
	}
}

func TestConfiguredProjectAndNetworkAreUsed(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	engine.put("b", "10.0.0.8", func(c *container.Summary) {
		c.Labels["com.docker.compose.project"] = "q"
		c.NetworkSettings.Networks["other"] = &network.EndpointSettings{IPAddress: netip.MustParseAddr("172.30.0.8")}
	})
	source := engine.NewSource().(discovery.Engine)
	source.Projects, source.Networks = []string{"q"}, []string{"other"}
	sourcetest.Start(t, source).EventuallyServes(t, "172.30.0.8")
}

func TestEventBurstCausesFewLists(t *testing.T) {
	engine := newFakeEngine(t)
	r := sourcetest.Start(t, engine.NewSource())
	r.Eventually(t, "online", func(s sourcetest.State) bool { return s.IsOnline })
	engine.mu.Lock()
	before := engine.listCount
	engine.mu.Unlock()
	var addrs []string
	for i := range 200 {
		addr := fmt.Sprintf("10.0.0.%d", i+20)
		addrs = append(addrs, addr)
		engine.put("c"+addr, addr, nil)
		engine.emit(events.ActionStart, "c"+addr, nil)
	}
	r.EventuallyServes(t, addrs...)
	engine.mu.Lock()
	defer engine.mu.Unlock()
	if lists := engine.listCount - before; lists > 100 {
		t.Errorf("200 events caused %d lists, want at most 100", lists)
	}
}

func TestCheckDockerHost(t *testing.T) {
	for host, ok := range map[string]bool{
		"unix:///var/run/docker.sock": true, "tcp://docker-guard:2375": true,
		"docker-guard:2375": false, "http://docker-guard:2375": false, "tcp://": false, "unix://": false, "ssh://host": false,
	} {
		if err := discovery.CheckDockerHost(host); (err == nil) != ok {
			t.Errorf("CheckDockerHost(%q): %v, want ok %t", host, err, ok)
		}
	}
}
