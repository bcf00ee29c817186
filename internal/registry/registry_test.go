package registry_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/theworklabs/edge/internal/registry"
)

func TestOnlyReadyEndpointsAreClaimed(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	unhealthy := engineMember("c", "10.0.0.3")
	unhealthy.UnhealthyReason = "unhealthy"
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), terminatingMember("b", "10.0.0.2"), unhealthy})
	f.engine.SetOnline(true)
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 draining; 10.0.0.3:80 failing; ")
	for range 100 {
		claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := claim.Endpoint().ID(); got != "a" {
			t.Fatalf("claimed %s, which is not ready", got)
		}
		claim.Release()
	}
}

func TestNoClaimIsMadeAfterADrainBegins(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	both := []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")}
	drained := []registry.Member{both[0], both[1]}
	drained[0].Phase = registry.Terminating
	f.engine.Set("api", both)
	f.engine.SetOnline(true)
	ctx, cancel := context.WithCancel(t.Context())
	var claimers sync.WaitGroup
	for range 4 {
		claimers.Go(func() {
			for ctx.Err() == nil {
				if claim, err := f.service.Acquire(ctx, registry.PickOptions{}); err == nil {
					claim.Release()
				}
			}
		})
	}
	requestsOf := func(id string) uint64 {
		for _, e := range f.service.Status().Endpoints {
			if e.ID == id {
				return e.Requests
			}
		}
		return 0
	}
	for range 200 {
		f.engine.Set("api", drained)
		before := requestsOf("a")
		served := requestsOf("b")
		for requestsOf("b") == served { // until the other endpoint has got another request
		}
		if after := requestsOf("a"); after != before {
			t.Fatalf("%d requests went to a draining endpoint", after-before)
		}
		f.engine.Set("api", both)
	}
	cancel()
	claimers.Wait()
}

func TestRoutesShareOneService(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	again, err := f.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	if again != f.service {
		t.Error("a second Declare created a second service")
	}
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	again.Drop()
	f.wantStates(t, "10.0.0.1:80 ready; ")
	f.service.Drop()
	f.wantStates(t, "")
	if got := f.conns["10.0.0.1:80"][0].closes; got == 0 {
		t.Error("the connections of a dropped service's endpoint were not closed")
	}
}

func TestCloseSocketsAffectsOnlyItsService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, registry.Settings{})
		f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
		f.engine.SetOnline(true)
		synctest.Wait()
		closeReasons := func() (reasons string) {
			for _, conns := range f.conns {
				reasons += conns[0].closeReason + " "
			}
			return reasons
		}
		f.CloseSockets("other:80", "maintenance")
		if got := closeReasons(); got != "  " {
			t.Errorf("another service's sockets were closed, and this one's for %q", got)
		}
		f.CloseSockets("api:80", "maintenance")
		if got := closeReasons(); got != "maintenance maintenance " {
			t.Errorf("the sockets were closed for %q", got)
		}
	})
}

func TestUnusedNamesAreRemoved(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("unused", []registry.Member{engineMember("x", "10.0.0.7")})
	f.engine.Set("unused", nil)
	if got := f.Explain(registry.ErrUnknown); got != registry.ErrUnknown.Error()+" (no container is known at all)" {
		t.Errorf("still known: %s", got)
	}
}
