package registry_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// share returns which part of n requests an endpoint gets.
func (s *fixture) share(t *testing.T, id string, n int) float64 {
	t.Helper()
	got := 0
	for range n {
		claim := s.mustAcquire(t, registry.PickOptions{})
		if claim.Endpoint().ID() == id {
			got++
		}
		claim.Release()
	}
	return float64(got) / float64(n)
}

func TestSlowStartRaisesAnEndpointsShareOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{SlowStart: 10 * time.Second})
		defer s.Close()
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		s.engine.SetOnline(true)
		time.Sleep(time.Minute)
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		for _, step := range []struct {
			after     time.Duration
			low, high float64
		}{{0, 0.01, 0.12}, {5 * time.Second, 0.15, 0.35}, {6 * time.Second, 0.4, 0.6}} {
			time.Sleep(step.after)
			if part := s.share(t, idB, 2000); part < step.low || part > step.high {
				t.Errorf("after another %s it gets %.2f of the requests, want %.2f to %.2f", step.after, part, step.low, step.high)
			}
		}
	})
}

func TestOnlyEndpointInSlowStartGetsAllRequests(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	s.engine.SetOnline(true)
	if part := s.share(t, idA, 100); part != 1 {
		t.Errorf("it gets %.2f", part)
	}
}

func TestWithoutSlowStartANewEndpointGetsItsFullShare(t *testing.T) {
	s := newFixture(t, registry.Settings{SlowStart: -1})
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	s.engine.SetOnline(true)
	if part := s.share(t, idB, 2000); part < 0.4 || part > 0.6 {
		t.Errorf("it gets %.2f", part)
	}
}

func TestOpenSocketsCountAsLoadForUpgradesOnly(t *testing.T) {
	s := newPairFixture(t, registry.Settings{SlowStart: -1})
	for range 5 {
		defer s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Upgrade().Release()
	}
	for range 20 {
		claim := s.mustAcquire(t, registry.PickOptions{Upgrade: true})
		if claim.Endpoint().ID() != idB {
			t.Fatal("the endpoint with five sockets was given another")
		}
		claim.Release()
	}
	if part := s.share(t, idA, 1000); part < 0.4 || part > 0.6 {
		t.Errorf("sockets count as requests: the endpoint that has them gets %.2f", part)
	}
}

func TestSessionRequestIsRetriedOnItsOwnEndpoint(t *testing.T) {
	s := newPairFixture(t, registry.Settings{})
	first := s.mustAcquire(t, registry.PickOptions{Session: idA})
	for range 20 {
		if id := s.mustAcquire(t, registry.PickOptions{Session: idA, Avoid: []*registry.Endpoint{first.Endpoint()}}).Endpoint().ID(); id != idA {
			t.Fatalf("it went to %s, which does not know the session", id)
		}
	}
}

func TestSlowStartYieldsWhenTheOtherIsOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(t, registry.Settings{SlowStart: 10 * time.Second})
		defer s.Close()
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
		s.engine.SetOnline(true)
		time.Sleep(time.Minute)
		s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		onA := 0
		for range 200 { // none of which is answered
			if s.mustAcquire(t, registry.PickOptions{}).Endpoint().ID() == idA {
				onA++
			}
		}
		if onA < 120 || onA > 190 {
			t.Errorf("the warm one has %d of 200 requests that nobody answers, want most but far from all", onA)
		}
	})
}

func TestAvoidedEndpointsArePickedLast(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2"), engineMember("c", "10.0.0.3")})
	s.engine.SetOnline(true)
	for range 20 {
		var been []*registry.Endpoint
		seen := make(map[string]bool)
		for range 3 {
			claim := s.mustAcquire(t, registry.PickOptions{Avoid: been})
			been = append(been, claim.Endpoint())
			seen[claim.Endpoint().ID()] = true
			claim.Release()
		}
		if len(seen) != 3 {
			t.Fatalf("it was on %v", seen)
		}
		s.mustAcquire(t, registry.PickOptions{Avoid: been}).Release() // all is better than none
	}
}
