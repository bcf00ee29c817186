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

// pair is a stack with two ready endpoints, idA at 10.0.0.1 and idB at 10.0.0.2.
func pair(t *testing.T, settings registry.Settings) *stack {
	t.Helper()
	s := newStack(t, settings)
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idB, "10.0.0.2")})
	s.engine.Online(true)
	return s
}

// claim claims an endpoint, which there must be.
func (s *stack) claim(t *testing.T, w registry.Want) registry.Claim {
	t.Helper()
	claim, err := s.service.Acquire(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestADrainedEndpointTakesNothingNewAndFinishesWhatItHas(t *testing.T) {
	s := pair(t, registry.Settings{})
	under := s.claim(t, registry.Want{Prefer: idA})
	status, err := s.Drain([]string{idA[:12]}, registry.Drain{})
	if err != nil || len(status) != 1 || status[0].Service != "api:80" || status[0].ID != idA || status[0].InFlight != 1 {
		t.Fatalf("%+v %v", status, err)
	}
	s.want(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if !s.links["10.0.0.1:80"][0].draining {
		t.Error("its sockets were not told")
	}
	for range 20 {
		if s.claim(t, registry.Want{Prefer: idA}).Endpoint().ID() != idB {
			t.Fatal("a request was given to a drained endpoint")
		}
	}
	under.Release()
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idB, "10.0.0.2")}) // seen again: still drained
	s.want(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if _, err := s.Drain([]string{"10.0.0.1:80"}, registry.Drain{Undo: true}); err != nil {
		t.Fatal(err)
	}
	s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if s.links["10.0.0.1:80"][0].draining {
		t.Error("its sockets were not told that they may stay")
	}
}

func TestADrainThatNamesAnythingUnknownIsNone(t *testing.T) {
	s := pair(t, registry.Settings{})
	_, err := s.Drain([]string{idA, "cccccccccccc"}, registry.Drain{})
	if !errors.Is(err, registry.ErrNoEndpoint) || !strings.Contains(err.Error(), "cccccccccccc") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Drain([]string{idA[:11]}, registry.Drain{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("too short a part of an ID: %v", err)
	}
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idA[:12]+"other", "10.0.0.2")})
	if _, err := s.Drain([]string{idA[:12]}, registry.Drain{}); err == nil || !strings.Contains(err.Error(), "more than one") {
		t.Errorf("an ambiguous part of an ID: %v", err)
	}
	s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

func TestSessionsMayUseADrainedEndpointForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pair(t, registry.Settings{})
		defer s.Close()
		if _, err := s.Drain([]string{idA}, registry.Drain{Sessions: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		session := registry.Want{Session: idA}
		if s.claim(t, session).Endpoint().ID() != idA {
			t.Error("the session was sent away at once")
		}
		time.Sleep(11 * time.Second)
		if s.claim(t, session).Endpoint().ID() != idB {
			t.Error("the session was never sent away")
		}
	})
}

func TestASessionStaysOnAnEndpointThatWasToldToStopAndAPreferenceDoesNot(t *testing.T) {
	s := pair(t, registry.Settings{})
	leaving := box(idA, "10.0.0.1")
	leaving.Phase = registry.Leaving
	s.engine.Set("api", []registry.Member{leaving, box(idB, "10.0.0.2")})
	for range 20 {
		session := s.claim(t, registry.Want{Session: idA})
		preferring := s.claim(t, registry.Want{Prefer: idA})
		if session.Endpoint().ID() != idA || preferring.Endpoint().ID() != idB {
			t.Fatalf("the session went to %s, the preference to %s", session.Endpoint().ID(), preferring.Endpoint().ID())
		}
		refused := s.claim(t, registry.Want{Session: idA, Avoid: []*registry.Endpoint{session.Endpoint()}})
		if refused.Endpoint().ID() != idB {
			t.Fatal("the session went again to an endpoint that refused it")
		}
	}
}

func TestWithDNSAloneAnAddressThatDisappearsDrains(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{found("10.0.0.1"), found("10.0.0.2")})
	claim := s.claim(t, registry.Want{Prefer: "10.0.0.1"})
	socket := s.claim(t, registry.Want{Prefer: "10.0.0.1"}).Socket()
	s.dns.Set("api", []registry.Member{found("10.0.0.2")})
	s.want(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	link := s.links["10.0.0.1:80"][0]
	if !link.draining || link.closed == 0 || link.cuts > 0 {
		t.Errorf("draining %t, closed %d, cut %d; want no new connections, and the old ones left alone", link.draining, link.closed, link.cuts)
	}
	s.dns.Set("api", []registry.Member{found("10.0.0.1"), found("10.0.0.2")}) // the address is somebody's again
	s.want(t, "10.0.0.1:80 draining; 10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	claim.Release()
	if status := s.service.Status(); status.Sockets != 1 || status.InFlight != 0 {
		t.Errorf("%d sockets, %d in flight", status.Sockets, status.InFlight)
	}
	socket.Release()
	s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if s.claim(t, registry.Want{Session: "10.0.0.1"}).Endpoint().ID() != "10.0.0.1" {
		t.Error("the identity went with the endpoint that had it before")
	}
	if traffic := s.service.Status().Traffic; traffic != (registry.Traffic{FromClients: 9, FromEndpoint: 12}) {
		t.Errorf("%+v: what the departed one carried is not counted", traffic)
	}
}

func TestAPartOfAnAddressNamesNobodyAndAWholeOneItself(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.dns.Set("api", []registry.Member{found("172.18.10.170")})
	if _, err := s.Drain([]string{"172.18.10.17"}, registry.Drain{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("got %v", err)
	}
	s.dns.Set("api", []registry.Member{found("172.18.10.17"), found("172.18.10.170")})
	got, err := s.Drain([]string{"172.18.10.17"}, registry.Drain{})
	if err != nil || len(got) != 1 || got[0].Address != "172.18.10.17:80" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestAReloadProbesNoEndpointThatHasDeparted: its address may be another container's, and nobody would end the probe.
func TestAReloadProbesNoEndpointThatHasDeparted(t *testing.T) {
	first, second := newManual(), newManual()
	s := newStack(t, registry.Settings{Probe: first})
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
	s.engine.Online(true)
	first.target(t, "10.0.0.1:80").Answers("ok")
	claim := s.claim(t, registry.Want{})
	s.engine.Set("api", []registry.Member{box(idB, "10.0.0.2")})
	s.service.Configure(registry.Settings{Probe: second})
	second.target(t, "10.0.0.2:80").Answers("ok")
	second.mu.Lock()
	_, probed := second.targets["10.0.0.1:80"]
	second.mu.Unlock()
	if probed {
		t.Error("the departed endpoint is probed anew")
	}
	claim.Release()
	s.Close() // waits for all probes
}
