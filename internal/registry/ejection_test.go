package registry_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// reportFailures reports n failed requests of an endpoint in a row.
func (f *fixture) reportFailures(t *testing.T, id string, n int) {
	t.Helper()
	for range n {
		claim := f.mustAcquire(t, registry.PickOptions{Session: id})
		if claim.Endpoint().ID() != id {
			t.Fatalf("claimed %s", claim.Endpoint().ID())
		}
		claim.ReportFailure("status 502", netip.Addr{})
		claim.Release()
	}
}

func TestConsecutiveFailuresEjectForAGrowingTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 3, Base: time.Second, Max: 3 * time.Second}})
		defer f.Close()
		f.reportFailures(t, idA, 2)
		success := f.mustAcquire(t, registry.PickOptions{Prefer: idA})
		success.ReportSuccess()
		success.Release()
		f.reportFailures(t, idA, 2) // not three in a row
		f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		f.reportFailures(t, idA, 1)
		for _, seconds := range []time.Duration{1, 2, 3, 3} {
			f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			if reason := f.service.Status().Endpoints[0].Reason; !strings.Contains(reason, "ejected for ") || !strings.Contains(reason, "status 502") {
				t.Errorf("the reason is %q", reason)
			}
			time.Sleep(seconds*time.Second - time.Millisecond)
			synctest.Wait()
			f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
			f.reportFailures(t, idA, 3)
		}
		if got := f.service.Status().Ejected; got != 5 {
			t.Errorf("%d ejections, want 5", got)
		}
		time.Sleep(10 * time.Second) // without failures for longer than Max: the durations start again
		f.reportFailures(t, idA, 3)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheProbeDecidesWhenAnEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newPairFixture(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer f.Close()
		a, b := probe.target(t, "10.0.0.1:80"), probe.target(t, "10.0.0.2:80")
		a.ReportReady("ok")
		b.ReportReady("ok")
		f.reportFailures(t, idA, 1)
		a.ReportReady("ok") // it passes its probe during the ejection
		f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
		<-a.CheckRequests()
		a.ReportReady("ok")
		f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
	})
}

func TestTheLastReadyEndpointIsNeverEjected(t *testing.T) {
	f := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 2}})
	f.reportFailures(t, idA, 2)
	f.reportFailures(t, idB, 20)
	f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1")})
	f.wantStates(t, "10.0.0.1:80 ready; ") // no other endpoint is left
}

func TestEjectionCanBeTurnedOff(t *testing.T) {
	f := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: -1}})
	f.reportFailures(t, idA, 100)
	f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
}

func TestFailuresOfOneClientAloneDoNotEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 3}})
		defer f.Close()
		fail := func(client netip.Addr) {
			claim := f.mustAcquire(t, registry.PickOptions{Session: idA})
			claim.ReportFailure("status 502", client)
			claim.Release()
		}
		for range 20 {
			fail(alice)
		}
		f.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 ready; ")
		fail(bob)
		f.wantStates(t, "10.0.0.1:80 failing; 10.0.0.2:80 ready; ")
	})
}

func TestSessionsStayOnAnEjectedEndpoint(t *testing.T) {
	f := newPairFixture(t, registry.Settings{Eject: registry.Ejection{After: 1}})
	f.reportFailures(t, idA, 1)
	if id := f.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idA {
		t.Errorf("the session went to %s, which does not know it", id)
	}
}

func TestSessionsStayOnAnEndpointWhoseEjectionIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := newManualProbe()
		f := newPairFixture(t, registry.Settings{Probe: probe, Eject: registry.Ejection{After: 1, Base: time.Second}})
		defer f.Close()
		a := probe.target(t, "10.0.0.1:80")
		a.ReportReady("ok")
		probe.target(t, "10.0.0.2:80").ReportReady("ok")
		f.reportFailures(t, idA, 1)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if id := f.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idA {
			t.Errorf("before the probe has checked, the session went to %s", id)
		}
		a.ReportFailing("refused")
		if id := f.mustAcquire(t, registry.PickOptions{Session: idA}).Endpoint().ID(); id != idB {
			t.Errorf("after the probe has failed, the session went to %s", id)
		}
	})
}
