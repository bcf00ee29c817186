package registry_test

import (
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

func TestTheEngineDecidesWhileItIsConnected(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.9")})
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.9:80 ready; ")
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.wantStates(t, "10.0.0.1:80 ready; ") // .9 may be another's by now
}

func TestDNSTakesOverAndKeepsSharedEndpoints(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	s.engine.SetOnline(false)
	s.wantStates(t, "10.0.0.2:80 ready; 10.0.0.1:80 ready; ") // those without a name come first
	status := s.service.Status()
	if status.InFlight != 1 || status.Endpoints[1].ID != "a" && status.Endpoints[0].ID != "a" {
		t.Errorf("the endpoint lost its request or its identity: %+v", status)
	}
	claim.Release()
	if n := len(s.conns["10.0.0.1:80"]); n != 1 {
		t.Errorf("its connections were made %d times, want once", n)
	}
}

func TestEnginesLastReportHoldsUntilDNSReports(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.engine.SetOnline(false)
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestANameThatTheEngineNeverListedIsLeftToDNS(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.SetOnline(true)
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestANameOfAnotherProjectIsNotLeftToDNS(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.SetProblem("api", "project other answers to api")
	s.engine.Set("api", nil)
	s.engine.SetOnline(true)
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	s.wantStates(t, "")
	if got := s.service.Status().Problem; got == "" {
		t.Error("the problem is not shown")
	}
}

func TestReusedAddressIsANewEndpoint(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.engine.Set("api", []registry.Member{engineMember("b", "10.0.0.1")})
	links := s.conns["10.0.0.1:80"]
	if len(links) != 2 || links[0].closes == 0 {
		t.Errorf("the new container got the old one's connections")
	}
}

func TestConnectionsToAnUnreachableContainerAreAborted(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Unreachable}})
	s.wantStates(t, "")
	if s.conns["10.0.0.1:80"][0].aborts != 1 {
		t.Error("its connections, which get no FIN, were not cut")
	}
}

func TestRequestsToAStoppedContainerMayFinish(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Stopped}})
	l := s.conns["10.0.0.1:80"][0]
	if l.aborts != 0 {
		t.Error("its connections were cut; the kernel ends them when there is nothing left to read")
	}
	before := l.closes
	claim.Release()
	if l.closes <= before {
		t.Error("the connection that came back after the end was kept")
	}
}

func TestAStaticListBeatsEverything(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	m := dnsMember("127.0.0.1")
	m.Port = 3001
	s.Feed(registry.Static).Set("api:80", []registry.Member{m})
	s.wantStates(t, "127.0.0.1:3001 ready; ")
	s.Feed(registry.Static).Clear()
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestRecoveredContainerIsProbedAtOnce(t *testing.T) {
	probe := newManualProbe()
	s := newFixture(t, registry.Settings{Probe: probe})
	paused := engineMember("a", "10.0.0.1")
	paused.UnhealthyReason = "paused"
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	s.engine.Set("api", []registry.Member{paused})
	s.wantStates(t, "10.0.0.1:80 failing; ")
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.wantStates(t, "10.0.0.1:80 ready; ")
	<-target.CheckRequests()
}

func TestUnusedNamesAreRemoved(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("passing-by", []registry.Member{engineMember("x", "10.0.0.7")})
	s.engine.Set("passing-by", nil)
	if got := s.Explain(registry.ErrUnknown); got != registry.ErrUnknown.Error()+" (no container is known at all)" {
		t.Errorf("still known: %s", got)
	}
}
