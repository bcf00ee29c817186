package registry_test

import (
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

func TestTheEngineDecidesWhileItIsConnected(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{found("10.0.0.1"), found("10.0.0.9")})
	s.want(t, "10.0.0.1:80 ready; 10.0.0.9:80 ready; ")
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.want(t, "10.0.0.1:80 ready; ") // .9 may be another's by now
}

func TestDNSTakesOverWithoutTouchingWhatStays(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	claim, err := s.service.Acquire(t.Context(), registry.Want{})
	if err != nil {
		t.Fatal(err)
	}
	s.dns.Set("api", []registry.Member{found("10.0.0.1"), found("10.0.0.2")})
	s.engine.Online(false)
	s.want(t, "10.0.0.2:80 ready; 10.0.0.1:80 ready; ") // those without a name come first
	status := s.service.Status()
	if status.InFlight != 1 || status.Endpoints[1].ID != "a" && status.Endpoints[0].ID != "a" {
		t.Errorf("the endpoint lost its request or its identity: %+v", status)
	}
	claim.Release()
	if n := len(s.links["10.0.0.1:80"]); n != 1 {
		t.Errorf("its connections were made %d times, want once", n)
	}
}

func TestWithoutAnyWordFromDNSTheEnginesLastWordHolds(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.engine.Online(false)
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestANameThatTheEngineNeverListedIsLeftToDNS(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Online(true)
	s.dns.Set("api", []registry.Member{found("10.0.0.1")})
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestANameOfAnotherProjectIsNotLeftToDNS(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Problem("api", "project other answers to api")
	s.engine.Set("api", nil)
	s.engine.Online(true)
	s.dns.Set("api", []registry.Member{found("10.0.0.1")})
	s.want(t, "")
	if got := s.service.Status().Problem; got == "" {
		t.Error("the problem is not shown")
	}
}

func TestAFreedAddressGivenToAnotherContainerIsAnotherEndpoint(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.engine.Set("api", []registry.Member{box("b", "10.0.0.1")})
	links := s.links["10.0.0.1:80"]
	if len(links) != 2 || links[0].closed == 0 {
		t.Errorf("the new container got the old one's connections")
	}
}

func TestAContainerThatLeavesTheNetworkHasItsConnectionsCut(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Detached}})
	s.want(t, "")
	if s.links["10.0.0.1:80"][0].cuts != 1 {
		t.Error("its connections, which get no FIN, were not cut")
	}
}

func TestAContainerThatStopsFinishesWhatItHas(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	claim, err := s.service.Acquire(t.Context(), registry.Want{})
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Stopped}})
	l := s.links["10.0.0.1:80"][0]
	if l.cuts != 0 {
		t.Error("its connections were cut; the kernel ends them when there is nothing left to read")
	}
	before := l.closed
	claim.Release()
	if l.closed <= before {
		t.Error("the connection that came back after the end was kept")
	}
}

func TestAStaticListBeatsEverything(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	m := found("127.0.0.1")
	m.Port = 3001
	s.Feed(registry.Static).Set("api:80", []registry.Member{m})
	s.want(t, "127.0.0.1:3001 ready; ")
	s.Feed(registry.Static).Clear()
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestAMendedContainerIsProbedAtOnce(t *testing.T) {
	probe := newManual()
	s := newStack(t, registry.Settings{Probe: probe})
	paused := box("a", "10.0.0.1")
	paused.Broken = "paused"
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	target := probe.target(t, "10.0.0.1:80")
	target.Answers("ok")
	s.engine.Set("api", []registry.Member{paused})
	s.want(t, "10.0.0.1:80 failing; ")
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.want(t, "10.0.0.1:80 ready; ")
	<-target.Poked()
}

func TestNamesThatNobodyUsesAreForgotten(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("passing-by", []registry.Member{box("x", "10.0.0.7")})
	s.engine.Set("passing-by", nil)
	if got := s.Explain(registry.ErrUnknown); got != registry.ErrUnknown.Error()+" (no container is known at all)" {
		t.Errorf("still known: %s", got)
	}
}
