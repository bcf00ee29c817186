package registry_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// fail has an endpoint give n bad answers in a row.
func (s *stack) fail(t *testing.T, id string, n int) {
	t.Helper()
	for range n {
		claim := s.claim(t, registry.Want{Session: id})
		if claim.Endpoint().ID() != id {
			t.Fatalf("claimed %s", claim.Endpoint().ID())
		}
		claim.Badly("status 502", netip.Addr{})
		claim.Release()
	}
}

func TestARunOfBadAnswersEjectsForAGrowingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pair(t, registry.Settings{Eject: registry.Ejection{After: 3, Base: time.Second, Max: 3 * time.Second}})
		defer s.Close()
		s.fail(t, idA, 2)
		well := s.claim(t, registry.Want{Prefer: idA})
		well.Well()
		well.Release()
		s.fail(t, idA, 2) // no run of three
		s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		s.fail(t, idA, 1)
		for _, term := range []time.Duration{1, 2, 3, 3} {
			s.want(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			if reason := s.service.Status().Endpoints[0].Reason; !strings.Contains(reason, "ejected for ") || !strings.Contains(reason, "status 502") {
				t.Errorf("the reason is %q", reason)
			}
			time.Sleep(term*time.Second - time.Millisecond)
			synctest.Wait()
			s.want(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
			s.fail(t, idA, 3)
		}
		time.Sleep(10 * time.Second) // well for long: it begins anew
		s.fail(t, idA, 3)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheProbeDecidesWhenAnEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := pair(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer s.Close()
		a, b := probe.target(t, "10.0.0.1:80"), probe.target(t, "10.0.0.2:80")
		a.Answers("ok")
		b.Answers("ok")
		s.fail(t, idA, 1)
		a.Answers("ok") // it passes its probe all the while
		s.want(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		s.want(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		<-a.Poked()
		a.Answers("ok")
		s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheLastReadyEndpointIsNeverEjected(t *testing.T) {
	s := pair(t, registry.Settings{Eject: registry.Ejection{After: 2}})
	s.fail(t, idA, 2)
	s.fail(t, idB, 20)
	s.want(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	s.engine.Set("api", []registry.Member{box(idA, "10.0.0.1")})
	s.want(t, "10.0.0.1:80 ready; ") // it is all that is left
}

func TestEjectionCanBeTurnedOff(t *testing.T) {
	s := pair(t, registry.Settings{Eject: registry.Ejection{After: -1}})
	s.fail(t, idA, 100)
	s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

func TestSessionsStayOnAnEjectedEndpoint(t *testing.T) {
	s := pair(t, registry.Settings{Eject: registry.Ejection{After: 1}})
	s.fail(t, idA, 1)
	if id := s.claim(t, registry.Want{Session: idA}).Endpoint().ID(); id != idA {
		t.Errorf("the session went to %s, which does not know it", id)
	}
}

func TestSessionsStayOnAnEndpointWhoseEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManual()
		s := pair(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer s.Close()
		a := probe.target(t, "10.0.0.1:80")
		a.Answers("ok")
		probe.target(t, "10.0.0.2:80").Answers("ok")
		s.fail(t, idA, 1)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if id := s.claim(t, registry.Want{Session: idA}).Endpoint().ID(); id != idA {
			t.Errorf("before its probe has looked, the session went to %s", id)
		}
		a.Fails("refused")
		if id := s.claim(t, registry.Want{Session: idA}).Endpoint().ID(); id != idB {
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
		feed.Set("api", []registry.Member{box(idA, "10.0.0.1"), box(idB, "10.0.0.2")})
		feed.Online(true)
		claim, err := s.Acquire(t.Context(), registry.Want{Session: idA})
		if err != nil {
			t.Fatal(err)
		}
		claim.Badly("cut off", netip.Addr{})
		claim.Release()
		feed.Set("api", []registry.Member{box(idB, "10.0.0.2")})
		claim.Badly("cut off again", netip.Addr{}) // whoever still holds it
		time.Sleep(time.Minute)                    // its ejection would be over
		synctest.Wait()
		if last != registry.Gone {
			t.Errorf("it is %s", last)
		}
	})
}
