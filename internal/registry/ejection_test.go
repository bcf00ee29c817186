package registry_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// reportFailures has an endpoint give n bad answers in a row.
func (s *fixture) reportFailures(t *testing.T, id string, n int) {
	t.Helper()
	for range n {
		claim := s.mustAcquire(t, registry.PickOptions{Session: id})
		if claim.Endpoint().ID() != id {
			t.Fatalf("claimed %s", claim.Endpoint().ID())
		}
		claim.ReportFailure("status 502", netip.Addr{})
		claim.Release()
	}
}

func TestConsecutiveFailuresEjectForAGrowingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 3, Base: time.Second, Max: 3 * time.Second}})
		defer s.Close()
		s.reportFailures(t, idA, 2)
		well := s.mustAcquire(t, registry.PickOptions{Prefer: idA})
		well.ReportSuccess()
		well.Release()
		s.reportFailures(t, idA, 2) // no run of three
		s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		s.reportFailures(t, idA, 1)
		for _, term := range []time.Duration{1, 2, 3, 3} {
			s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			if reason := s.service.Status().Endpoints[0].Reason; !strings.Contains(reason, "ejected for ") || !strings.Contains(reason, "status 502") {
				t.Errorf("the reason is %q", reason)
			}
			time.Sleep(term*time.Second - time.Millisecond)
			synctest.Wait()
			s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
			s.reportFailures(t, idA, 3)
		}
		time.Sleep(10 * time.Second) // well for long: it begins anew
		s.reportFailures(t, idA, 3)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheProbeDecidesWhenAnEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newPairFixture(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer s.Close()
		a, b := probe.target(t, "10.0.0.1:80"), probe.target(t, "10.0.0.2:80")
		a.ReportReady("ok")
		b.ReportReady("ok")
		s.reportFailures(t, idA, 1)
		a.ReportReady("ok") // it passes its probe all the while
		s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		<-a.CheckRequests()
		a.ReportReady("ok")
		s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheLastReadyEndpointIsNeverEjected(t *testing.T) {
	s := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 2}})
	s.reportFailures(t, idA, 2)
	s.reportFailures(t, idB, 20)
	s.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	s.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	s.wantStates(t, "10.0.0.1:80 ready; ") // it is all that is left
}

func TestEjectionCanBeTurnedOff(t *testing.T) {
	s := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: -1}})
	s.reportFailures(t, idA, 100)
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

func TestSessionsStayOnAnEjectedEndpoint(t *testing.T) {
	s := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 1}})
	s.reportFailures(t, idA, 1)
	if id := s.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idA {
		t.Errorf("the session went to %s, which does not know it", id)
	}
}

func TestSessionsStayOnAnEndpointWhoseEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		s := newPairFixture(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer s.Close()
		a := probe.target(t, "10.0.0.1:80")
		a.ReportReady("ok")
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		s.reportFailures(t, idA, 1)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if id := s.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idA {
			t.Errorf("before its probe has looked, the session went to %s", id)
		}
		a.ReportFailing("refused")
		if id := s.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idB {
			t.Errorf("after its probe has failed, the session went to %s", id)
		}
	})
}

func TestAnEndpointThatIsGoneStaysGone(t *testing.T) {
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
		claim.ReportFailure("cut off", netip.Addr{})
		claim.Release()
		feed.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		claim.ReportFailure("cut off again", netip.Addr{}) // whoever still holds it
		time.Sleep(time.Minute)                            // its ejection would be over
		synctest.Wait()
		if last != registry.Gone {
			t.Errorf("it is %s", last)
		}
	})
}
