package registry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

const (
	idA = "aaaaaaaaaaaa11112222"
	idB = "bbbbbbbbbbbb11112222"
)

// newPairFixture is a stack with two ready endpoints, idA at 10.0.0.1 and idB at 10.0.0.2.
func newPairFixture(t *testing.T, settings registry.Settings) *fixture {
	t.Helper()
	s := newFixture(t, settings)
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	s.engine.SetOnline(true)
	return s
}

// mustAcquire claims an endpoint, which there must be.
func (s *fixture) mustAcquire(t *testing.T, w registry.PickOptions) registry.Claim {
	t.Helper()
	claim, err := s.service.Acquire(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestADrainedEndpointTakesNothingNewAndFinishesWhatItHas(t *testing.T) {
	s := newPairFixture(t, registry.Settings{})
	under := s.mustAcquire(t, registry.PickOptions{Prefer: idA})
	status, err := s.Drain([]string{idA[:12]}, registry.DrainOptions{})
	if err != nil || len(status) != 1 || status[0].Service != "api:80" || status[0].ID != idA || status[0].InFlight != 1 {
		t.Fatalf("%+v %v", status, err)
	}
	s.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if !s.conns["10.0.0.1:80"][0].draining {
		t.Error("its sockets were not told")
	}
	for range 20 {
		if s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID() != idB {
			t.Fatal("a request was given to a drained endpoint")
		}
	}
	under.Release()
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")}) // seen again: still drained
	s.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if _, err := s.Drain([]string{"10.0.0.1:80"}, registry.DrainOptions{Undo: true}); err != nil {
		t.Fatal(err)
	}
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if s.conns["10.0.0.1:80"][0].draining {
		t.Error("its sockets were not told that they may stay")
	}
}

func TestDrainWithAnUnknownIDDrainsNothing(t *testing.T) {
	s := newPairFixture(t, registry.Settings{})
	_, err := s.Drain([]string{idA, "cccccccccccc"}, registry.DrainOptions{})
	if !errors.Is(err, registry.ErrNoEndpoint) || !strings.Contains(err.Error(), "cccccccccccc") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Drain([]string{idA[:11]}, registry.DrainOptions{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("too short a part of an ID: %v", err)
	}
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idA[:12]+"other", "10.0.0.2")})
	if _, err := s.Drain([]string{idA[:12]}, registry.DrainOptions{}); err == nil || !strings.Contains(err.Error(), "more than one") {
		t.Errorf("an ambiguous part of an ID: %v", err)
	}
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

func TestSessionsMayUseADrainedEndpointForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{})
		defer s.Close()
		if _, err := s.Drain([]string{idA}, registry.DrainOptions{SessionGrace: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		session := registry.PickOptions{Session: idA}
		if s.mustAcquire(t, session).Endpoint().ID() != idA {
			t.Error("the session was sent away at once")
		}
		time.Sleep(11 * time.Second)
		if s.mustAcquire(t, session).Endpoint().ID() != idB {
			t.Error("the session was never sent away")
		}
	})
}

func TestTerminatingEndpointKeepsSessionsButNotPreferences(t *testing.T) {
	s := newPairFixture(t, registry.Settings{})
	leaving := engineMember(idA, "10.0.0.1")
	leaving.Phase = registry.Terminating
	s.engine.Set("api", []registry.Member{leaving, engineMember(idB, "10.0.0.2")})
	for range 20 {
		session := s.mustAcquire(t, registry.PickOptions{Session: idA})
		preferring := s.mustAcquire(t, registry.PickOptions{Prefer: idA})
		if session.Endpoint().ID() != idA || preferring.Endpoint().ID() != idB {
			t.Fatalf("the session went to %s, the preference to %s", session.Endpoint().ID(), preferring.Endpoint().ID())
		}
		refused := s.mustAcquire(t, registry.PickOptions{Session: idA, Avoid: []*registry.Endpoint{session.Endpoint()}})
		if refused.Endpoint().ID() != idB {
			t.Fatal("the session went again to an endpoint that refused it")
		}
	}
}

func TestAddressThatLeavesDNSDrains(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	claim := s.mustAcquire(t, registry.PickOptions{Prefer: "10.0.0.1"})
	socket := s.mustAcquire(t, registry.PickOptions{Prefer: "10.0.0.1"}).Upgrade()
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.2")})
	s.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	link := s.conns["10.0.0.1:80"][0]
	if !link.draining || link.closes == 0 || link.aborts > 0 {
		t.Errorf("draining %t, closed %d, cut %d; want no new connections, and the old ones left alone", link.draining, link.closes, link.aborts)
	}
	s.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")}) // the address is somebody's again
	s.wantStates(t, "10.0.0.1:80 draining; 10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	claim.Release()
	if status := s.service.Status(); status.Sockets != 1 || status.InFlight != 0 {
		t.Errorf("%d sockets, %d in flight", status.Sockets, status.InFlight)
	}
	socket.Release()
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if s.mustAcquire(t, registry.PickOptions{Session: "10.0.0.1"}).Endpoint().ID() != "10.0.0.1" {
		t.Error("the identity went with the endpoint that had it before")
	}
	if traffic := s.service.Status().Traffic; traffic != (registry.Traffic{FromClients: 9, FromEndpoint: 12}) {
		t.Errorf("%+v: what the departed one carried is not counted", traffic)
	}
}

func TestDrainMatchesWholeAddressesOnly(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{dnsMember("172.18.10.170")})
	if _, err := s.Drain([]string{"172.18.10.17"}, registry.DrainOptions{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("got %v", err)
	}
	s.dns.Set("api", []registry.Member{dnsMember("172.18.10.17"), dnsMember("172.18.10.170")})
	got, err := s.Drain([]string{"172.18.10.17"}, registry.DrainOptions{})
	if err != nil || len(got) != 1 || got[0].Address != "172.18.10.17:80" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestReloadDoesNotProbeRemovedEndpoints: its address may be another container's, and nobody would end the probe.
func TestReloadDoesNotProbeRemovedEndpoints(t *testing.T) {
	first, second := newManualProbe(), newManualProbe()
	s := newFixture(t, registry.Settings{Probe: first})
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	s.engine.SetOnline(true)
	first.target(t, "10.0.0.1:80").ReportReady("ok")
	claim := s.mustAcquire(t, registry.PickOptions{})
	s.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
	s.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.2:80").ReportReady("ok")
	second.mu.Lock()
	_, probed := second.targets["10.0.0.1:80"]
	second.mu.Unlock()
	if probed {
		t.Error("the departed endpoint is probed anew")
	}
	claim.Release()
	s.Close() // waits for all probes
}
