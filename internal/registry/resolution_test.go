package registry_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestLateProblemRemovesDNSEndpoints(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", nil) // another project's container, not running yet
	s.engine.SetOnline(true)
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")}) // now it runs
	s.wantStates(t, "10.0.0.1:80 ready; ")
	s.engine.SetProblem("api", "project q answers to api")
	s.engine.Set("api", nil)
	s.wantStates(t, "")
	s.engine.SetProblem("api", "")
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestAfterWithdrawTheOtherSourcesReportHolds(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1")})
	s.engine.SetOnline(false)
	s.dns.Withdraw("api") // the Engine and its DNS are both away: the containers need not be
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestRestartedSourceDropsNamesItDoesNotRepeat(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.engine.MarkStale()
	s.wantStates(t, "10.0.0.1:80 ready; ") // until it has looked
	s.engine.Set("other", []registry.Member{engineMember("b", "10.0.0.2")})
	s.engine.SetOnline(true)
	s.wantStates(t, "")
}

func TestUnknownNamesAreHeldUntilTheEngineReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{})
		s.engine.Expect()
		s.dns.Set("api", nil)
		s.dns.SetOnline(true)
		result := s.acquireAsync(t.Context())
		time.Sleep(3 * time.Second)
		s.engine.Set("api", []registry.Member{stoppedMember("a")})
		s.engine.SetOnline(true)
		time.Sleep(3 * time.Second)
		s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
		if got := <-result; got.err != nil || got.after != 6*time.Second {
			t.Errorf("got %v after %s, want an endpoint after 6s", got.err, got.after)
		}
	})
}

func TestUnknownNamesFailOnceTheEngineHasReported(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Expect()
	s.dns.Set("api", nil)
	s.dns.SetOnline(true)
	s.engine.SetOnline(true)
	if _, err := s.service.Acquire(t.Context(), registry.PickOptions{}); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
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
		t.Error("not ready although no probe is set")
	}
}

func TestReplacedProbesLateReportIsIgnored(t *testing.T) {
	first, second := newManualProbe(), newManualProbe()
	s := newFixture(t, registry.Settings{Probe: first})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	old := first.target(t, "10.0.0.1:80")
	s.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.1:80").ReportReady("ok")
	old.ReportFailing("canceled")
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestNameRemovedFromStaticListIsLeftToOtherSources(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	static := s.Feed(registry.Static)
	static.Set("api:80", []registry.Member{dnsMember("127.0.0.1")})
	static.SetOnline(true)
	s.wantStates(t, "127.0.0.1:80 ready; ")
	static.MarkStale()
	s.wantStates(t, "127.0.0.1:80 ready; ")
	static.SetOnline(true) // without the name
	s.wantStates(t, "10.0.0.1:80 ready; ")
}
