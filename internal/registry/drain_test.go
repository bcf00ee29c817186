package registry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestDrainedEndpointFinishesItsRequestsAndGetsNoNewOnes(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	claim := f.mustAcquire(t, registry.PickOptions{Prefer: idA})
	status, err := f.Drain([]string{idA[:12]}, registry.DrainOptions{})
	if err != nil || len(status) != 1 || status[0].Service != "api:80" || status[0].ID != idA || status[0].InFlight != 1 {
		t.Fatalf("%+v %v", status, err)
	}
	f.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if !f.conns["10.0.0.1:80"][0].draining {
		t.Error("its connections were not drained")
	}
	for range 20 {
		if f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint().ID() != idB {
			t.Fatal("a drained endpoint got a request")
		}
	}
	claim.Release()
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")}) // another report does not end the drain
	f.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	if _, err := f.Drain([]string{"10.0.0.1:80"}, registry.DrainOptions{Undo: true}); err != nil {
		t.Fatal(err)
	}
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if f.conns["10.0.0.1:80"][0].draining {
		t.Error("the drain of its connections was not canceled")
	}
	if status, err := f.Drain([]string{"p/api/" + idB}, registry.DrainOptions{}); err != nil || len(status) != 1 || status[0].ID != idB {
		t.Errorf("by its name: %+v %v", status, err)
	}
}

func TestDrainWithAnUnknownIDDrainsNothing(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	_, err := f.Drain([]string{idA, "cccccccccccc"}, registry.DrainOptions{})
	if !errors.Is(err, registry.ErrNoEndpoint) || !strings.Contains(err.Error(), "cccccccccccc") {
		t.Errorf("got %v", err)
	}
	if _, err := f.Drain([]string{idA[:11]}, registry.DrainOptions{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("an ID prefix that is too short: %v", err)
	}
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idA[:12]+"other", "10.0.0.2")})
	if _, err := f.Drain([]string{idA[:12]}, registry.DrainOptions{}); err == nil || !strings.Contains(err.Error(), "more than one") {
		t.Errorf("an ambiguous ID prefix: %v", err)
	}
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

// TestDrainOfAnEarlierRun: the container has started again since then.
func TestDrainOfAnEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{})
		time.Sleep(time.Second)
		opts := registry.DrainOptions{FoundBefore: time.Now()}
		f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		if _, err := f.Drain([]string{idA}, opts); !errors.Is(err, registry.ErrNoEndpoint) {
			t.Errorf("got %v", err)
		}
		if status, err := f.Drain([]string{idB}, opts); err != nil || len(status) != 1 {
			t.Errorf("%+v %v", status, err)
		}
		if status, err := f.Drain([]string{idA}, registry.DrainOptions{}); err != nil || len(status) != 1 {
			t.Errorf("%+v %v", status, err)
		}
	})
}

func TestDrainMatchesWholeAddressesOnly(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.dns.Set("api", []registry.Member{dnsMember("172.18.10.170")})
	if _, err := f.Drain([]string{"172.18.10.17"}, registry.DrainOptions{}); !errors.Is(err, registry.ErrNoEndpoint) {
		t.Errorf("got %v", err)
	}
	f.dns.Set("api", []registry.Member{dnsMember("172.18.10.17"), dnsMember("172.18.10.170")})
	got, err := f.Drain([]string{"172.18.10.17"}, registry.DrainOptions{})
	if err != nil || len(got) != 1 || got[0].Address != "172.18.10.17:80" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSessionsUseADrainedEndpointForTheirGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{})
		defer f.Close()
		if _, err := f.Drain([]string{idA}, registry.DrainOptions{SessionGrace: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		session := registry.PickOptions{Session: idA}
		if f.mustAcquire(t, session).Endpoint().ID() != idA {
			t.Error("the session left its endpoint at once")
		}
		time.Sleep(11 * time.Second)
		if f.mustAcquire(t, session).Endpoint().ID() != idB {
			t.Error("the session still goes to the drained endpoint after its grace")
		}
	})
}

func TestTerminatingEndpointKeepsSessionsButNotPreferences(t *testing.T) {
	f := newPairFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{terminatingMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	for range 20 {
		session := f.mustAcquire(t, registry.PickOptions{Session: idA})
		preferring := f.mustAcquire(t, registry.PickOptions{Prefer: idA})
		if session.Endpoint().ID() != idA || preferring.Endpoint().ID() != idB {
			t.Fatalf("the request with a session went to %s, the one with a preference to %s", session.Endpoint().ID(), preferring.Endpoint().ID())
		}
		refused := f.mustAcquire(t, registry.PickOptions{Session: idA, Avoid: []*registry.Endpoint{session.Endpoint()}})
		if refused.Endpoint().ID() != idB {
			t.Fatal("a request of the session went again to an endpoint that had refused it")
		}
	}
}
