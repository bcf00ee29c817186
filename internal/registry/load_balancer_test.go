package registry_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// share returns the part of n requests that an endpoint gets.
func (f *fixture) share(t *testing.T, id string, n int) float64 {
	t.Helper()
	got := 0
	for range n {
		claim := f.mustAcquire(t, registry.PickOptions{})
		if claim.Endpoint().ID() == id {
			got++
		}
		claim.Release()
	}
	return float64(got) / float64(n)
}

func TestPowerOfTwoChoicesPicksTheLessLoaded(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
	f.engine.SetOnline(true)
	counts := make(map[string]int)
	for range 100 {
		claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		counts[claim.Endpoint().ID()]++ // not released, so that the loads stay equal
	}
	if counts["a"] != 50 || counts["b"] != 50 {
		t.Errorf("100 claims that are not released went %v, want 50 to each", counts)
	}
}

func TestOpenSocketsCountAsLoadForUpgradesOnly(t *testing.T) {
	f := newPairFixture(t, registry.Settings{SlowStart: -1})
	for range 5 {
		defer f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Upgrade().Release()
	}
	for range 20 {
		claim := f.mustAcquire(t, registry.PickOptions{Upgrade: true})
		if claim.Endpoint().ID() != idB {
			t.Fatal("an upgrade went to the endpoint with five sockets")
		}
		claim.Release()
	}
	if share := f.share(t, idA, 1000); share < 0.4 || share > 0.6 {
		t.Errorf("the endpoint with five sockets gets %.2f of the requests, want about half", share)
	}
}

func TestAvoidedEndpointIsNotPickedIfAnotherIsReady(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
	f.engine.SetOnline(true)
	first, err := f.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	for range 50 {
		claim, err := f.service.Acquire(t.Context(), registry.PickOptions{Avoid: []*registry.Endpoint{first.Endpoint()}})
		if err != nil {
			t.Fatal(err)
		}
		if claim.Endpoint() == first.Endpoint() {
			t.Fatal("claimed the avoided endpoint although another is ready")
		}
		claim.Release()
	}
}

func TestAvoidedEndpointsArePickedLast(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2"), engineMember("c", "10.0.0.3")})
	f.engine.SetOnline(true)
	for range 20 {
		var avoid []*registry.Endpoint
		seen := make(map[string]bool)
		for range 3 {
			claim := f.mustAcquire(t, registry.PickOptions{Avoid: avoid})
			avoid = append(avoid, claim.Endpoint())
			seen[claim.Endpoint().ID()] = true
			claim.Release()
		}
		if len(seen) != 3 {
			t.Fatalf("three attempts went to %v, want three endpoints", seen)
		}
		f.mustAcquire(t, registry.PickOptions{Avoid: avoid}).Release() // all are avoided: any is better than none
	}
}

func TestSessionRequestIsRetriedOnItsOwnEndpoint(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	first := f.mustAcquire(t, registry.PickOptions{Session: idA})
	for range 20 {
		if id := f.mustAcquire(t, registry.PickOptions{Session: idA, Avoid: []*registry.Endpoint{first.Endpoint()}}).Endpoint().ID(); id != idA {
			t.Fatalf("the request went to %s, which does not know the session", id)
		}
	}
}

// newSlowStartFixture has the endpoint idA, which has been ready for a minute, and idB, whose slow start of ten seconds has just begun.
func newSlowStartFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, registry.Settings{SlowStart: 10 * time.Second})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	time.Sleep(time.Minute)
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	return f
}

func TestSlowStartRaisesAnEndpointsShareOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowStartFixture(t)
		defer f.Close()
		for _, step := range []struct {
			after     time.Duration
			low, high float64
		}{{0, 0.01, 0.12}, {5 * time.Second, 0.15, 0.35}, {6 * time.Second, 0.4, 0.6}} {
			time.Sleep(step.after)
			if share := f.share(t, idB, 2000); share < step.low || share > step.high {
				t.Errorf("after another %s the new endpoint gets %.2f of the requests, want %.2f to %.2f", step.after, share, step.low, step.high)
			}
		}
	})
}

func TestSlowStartYieldsWhenTheOtherIsOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowStartFixture(t)
		defer f.Close()
		onA := 0
		for range 200 { // none is answered
			if f.mustAcquire(t, registry.PickOptions{}).Endpoint().ID() == idA {
				onA++
			}
		}
		if onA < 120 || onA > 190 {
			t.Errorf("the older endpoint has %d of 200 unanswered requests, want 120 to 190", onA)
		}
	})
}

func TestOnlyEndpointInSlowStartGetsAllRequests(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.engine.SetOnline(true)
	if share := f.share(t, idA, 100); share != 1 {
		t.Errorf("it gets %.2f of the requests", share)
	}
}

func TestWithoutSlowStartANewEndpointGetsItsFullShare(t *testing.T) {
	f := newFixture(t, registry.Settings{SlowStart: -1})
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	f.engine.SetOnline(true)
	if share := f.share(t, idB, 2000); share < 0.4 || share > 0.6 {
		t.Errorf("it gets %.2f of the requests", share)
	}
}
