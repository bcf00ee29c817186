package registry_test

import (
	"testing"

	"github.com/theworklabs/edge/internal/registry"
)

func TestEndpointIsReadyOnlyAfterItsProbePasses(t *testing.T) {
	probe := newManualProbe()
	f := newFixture(t, registry.Settings{Probe: probe})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 starting; ")
	target := probe.target(t, "10.0.0.1:80")
	target.ReportFailing("refused")
	f.wantStates(t, "10.0.0.1:80 starting; ") // it has never been ready
	target.ReportReady("ok")
	f.wantStates(t, "10.0.0.1:80 ready; ")
	target.ReportFailing("timeout")
	f.wantStates(t, "10.0.0.1:80 failing; ")
}

func TestServiceIsNotReadyBeforeItIsConfigured(t *testing.T) {
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	r.Feed(registry.Engine).Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	r.Feed(registry.Engine).SetOnline(true)
	s, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	if s.IsReady() {
		t.Error("ready before it was configured")
	}
	s.Configure(registry.Settings{})
	if !s.IsReady() {
		t.Error("not ready although no probe is configured")
	}
}

func TestDialErrorTakesEndpointOutAndTriggersACheck(t *testing.T) {
	probe := newManualProbe()
	f := newFixture(t, registry.Settings{Probe: probe})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claim.Release()
	claim.ReportDialError("connection refused")
	f.wantStates(t, "10.0.0.1:80 failing; ")
	<-target.CheckRequests()
	for host := range f.LookupRequests() {
		if host == "api" {
			break
		}
	}
}

func TestRecoveredContainerIsProbedAtOnce(t *testing.T) {
	probe := newManualProbe()
	f := newFixture(t, registry.Settings{Probe: probe})
	paused := engineMember("a", "10.0.0.1")
	paused.UnhealthyReason = "paused"
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	f.engine.Set("api", []registry.Member{paused})
	f.wantStates(t, "10.0.0.1:80 failing; ")
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ")
	<-target.CheckRequests()
}

func TestReplacedProbesLateReportIsIgnored(t *testing.T) {
	first, second := newManualProbe(), newManualProbe()
	f := newFixture(t, registry.Settings{Probe: first})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	old := first.target(t, "10.0.0.1:80")
	f.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.1:80").ReportReady("ok")
	old.ReportFailing("canceled")
	f.wantStates(t, "10.0.0.1:80 ready; ")
}

// The address of a removed endpoint may be another container's, and nothing would end the probe.
func TestReloadDoesNotProbeRemovedEndpoints(t *testing.T) {
	first, second := newManualProbe(), newManualProbe()
	f := newFixture(t, registry.Settings{Probe: first})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	first.target(t, "10.0.0.1:80").ReportReady("ok")
	claim := f.mustAcquire(t, registry.PickOptions{})
	f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
	f.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.2:80").ReportReady("ok")
	second.mu.Lock()
	_, probed := second.targets["10.0.0.1:80"]
	second.mu.Unlock()
	if probed {
		t.Error("the removed endpoint is probed again")
	}
	claim.Release()
	f.Close() // waits for all probes
}
