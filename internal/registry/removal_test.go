package registry_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestReusedAddressIsANewEndpoint(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.engine.Set("api", []registry.Member{engineMember("b", "10.0.0.1")})
	conns := f.conns["10.0.0.1:80"]
	if len(conns) != 2 || conns[0].closes == 0 {
		t.Error("the new container got the old one's connections")
	}
}

func TestConnectionsToAnUnreachableContainerAreAborted(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	f.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Unreachable}})
	if !f.service.Status().Unreachable {
		t.Error("the status does not say that the container runs, and is unreachable")
	}
	f.wantStates(t, "")
	if f.conns["10.0.0.1:80"][0].aborts != 1 {
		t.Error("its connections, which get no FIN, were not aborted")
	}
}

func TestRequestsToAStoppedContainerMayFinish(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	f.engine.SetOnline(true)
	claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.engine.Set("api", []registry.Member{{ID: "a", Phase: registry.Stopped}})
	conns := f.conns["10.0.0.1:80"][0]
	if conns.aborts != 0 {
		t.Error("its connections were aborted before the edge could read the rest of the answers")
	}
	before := conns.closes
	claim.Release()
	if conns.closes <= before {
		t.Error("a connection that was returned after the removal stays open")
	}
}

func TestAddressThatLeavesDNSDrains(t *testing.T) {
	f := newFixture(t, registry.Settings{})
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")})
	claim := f.mustAcquire(t, registry.PickOptions{Prefer: "10.0.0.1"})
	socket := f.mustAcquire(t, registry.PickOptions{Prefer: "10.0.0.1"}).Upgrade()
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.2")})
	f.wantStates(t, "10.0.0.1:80 draining; 10.0.0.2:80 ready; ")
	conns := f.conns["10.0.0.1:80"][0]
	if !conns.draining || conns.closes == 0 || conns.aborts > 0 {
		t.Errorf("draining %t, %d closes, %d aborts; want no new connections, and no aborted ones", conns.draining, conns.closes, conns.aborts)
	}
	f.dns.Set("api", []registry.Member{dnsMember("10.0.0.1"), dnsMember("10.0.0.2")}) // another container has the address
	f.wantStates(t, "10.0.0.1:80 draining; 10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	claim.Release()
	if status := f.service.Status(); status.Sockets != 1 || status.InFlight != 0 {
		t.Errorf("%d sockets, %d in flight", status.Sockets, status.InFlight)
	}
	socket.Release()
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	if f.mustAcquire(t, registry.PickOptions{Session: "10.0.0.1"}).Endpoint().ID() != "10.0.0.1" {
		t.Error("the new endpoint lost its identity with the removal of the old one")
	}
	if traffic := f.service.Status().Traffic; traffic != (registry.Traffic{FromClients: 9, FromEndpoint: 12}) {
		t.Errorf("%+v: the traffic of the removed endpoint is not counted", traffic)
	}
}

func TestRemovedEndpointStaysGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last registry.State
		r := registry.New(registry.Options{OnChange: func(c registry.Change) {
			if c.Endpoint == idA {
				last = c.To
			}
		}})
		defer r.Close()
		s, err := r.Declare("api:80")
		if err != nil {
			t.Fatal(err)
		}
		s.Configure(registry.Settings{Eject: registry.Ejection{After: 1, Base: time.Second}})
		feed := r.Feed(registry.Engine)
		feed.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
		feed.SetOnline(true)
		claim, err := s.Acquire(t.Context(), registry.PickOptions{Session: idA})
		if err != nil {
			t.Fatal(err)
		}
		claim.ReportFailure("connection reset", netip.Addr{})
		claim.Release()
		feed.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		claim.ReportFailure("connection reset again", netip.Addr{}) // by a late holder of the claim
		time.Sleep(time.Minute)                                     // longer than the ejection
		synctest.Wait()
		if last != registry.Gone {
			t.Errorf("the endpoint is %s", last)
		}
	})
}
