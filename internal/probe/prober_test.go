package probe_test

import (
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
)

func TestWithoutURIsAListenerIsReady(t *testing.T) {
	address, _ := newSilentListener(t)
	f := newFixture(t, address, probe.Config{})
	if reason := f.waitForState(registry.Ready); reason != "accepts connections" {
		t.Errorf("the reason is %q", reason)
	}
}

func TestEndpointIsReadyOnceItListens(t *testing.T) {
	address := testport.Address(t)
	f := newFixture(t, address, probe.Config{})
	for deadline := time.Now().Add(maxWait); !strings.Contains(f.endpoint().Reason, "refused"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("the endpoint is still %+v", f.endpoint())
		}
	}
	f.wantState(registry.Starting, "refused")
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f.waitForState(registry.Ready)
	ln.Close()
	if reason := f.waitForState(registry.Failing); !strings.Contains(reason, "refused") {
		t.Errorf("the reason is %q", reason)
	}
}

func TestRisePassesInARowMakeAnEndpointReady(t *testing.T) {
	a := newFakeApp(t, answerSequence(200, 200, 500, 200, 200, 200))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Rise: 3, Interval: time.Hour})
	f.waitForState(registry.Ready)
	if n := len(a.requests); n != 6 {
		t.Errorf("ready after %d checks, want 6: three in a row", n)
	}
}

func TestFallFailuresInARowMakeAnEndpointFailing(t *testing.T) {
	a := newFakeApp(t, answerSequence(200, 500, 500, 200, 500, 500, 200, 502, 502, 502))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 3})
	f.waitForState(registry.Ready)
	if reason := f.waitForState(registry.Failing); reason != "GET /health: status 502, want 2xx" {
		t.Errorf("the reason is %q", reason)
	}
	if n := len(a.requests); n < 10 || n > 11 { // probeUntilReady may have made one more
		t.Errorf("failing after %d checks, want 10: three in a row", n)
	}
	a.setAnswer(answerStatus(200))
	if reason := f.waitForState(registry.Ready); reason != "GET /health passed" {
		t.Errorf("the reason is %q", reason)
	}
}

func TestSingleFailuresKeepAnEndpointReady(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 2})
	f.waitForState(registry.Ready)
	var turn atomic.Int32
	a.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
		if turn.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	a.waitForRequests(20)
	f.wantState(registry.Ready, "GET /health passed")
	if len(f.changes) > 0 {
		t.Errorf("it became %s meanwhile", (<-f.changes).To)
	}
}

func TestFailedDialTriggersACheckAtOnce(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	f.waitForState(registry.Ready)
	for range 3 {
		claim, err := f.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		claim.Release()
		claim.ReportDialError("connection refused")
		if reason := f.waitForState(registry.Failing); reason != "connection refused" {
			t.Errorf("the reason is %q", reason)
		}
		f.waitForState(registry.Ready) // without waiting for the interval
	}
	if n := len(a.requests); n != 4 {
		t.Errorf("%d requests, want 4: one, and one for each failed dial", n)
	}
}

func TestRecoveredEndpointIsCheckedAtOnce(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour, Fall: 1})
	f.waitForState(registry.Ready)
	a.waitForRequests(1)
	f.setEndpoint(a.address(), "paused")
	f.waitForState(registry.Failing)
	a.setAnswer(answerStatus(500))
	f.setEndpoint(a.address(), "")
	f.waitForState(registry.Ready) // the probe passed last
	a.waitForRequests(1)           // without waiting for the interval
	f.waitForState(registry.Failing)
}

func TestProbeEndsWithItsContext(t *testing.T) {
	silent, accepted := newSilentListener(t)
	for name, c := range map[string]struct {
		address string
		config  probe.Config
		reach   func(f *fixture) // waits until the probe is in the state in which it is canceled
	}{
		"while nothing listens": {"127.0.0.1:1", probe.Config{}, func(*fixture) {}},
		"during a request": {silent, probe.Config{URIs: []string{"/"}, Timeout: time.Hour}, func(*fixture) {
			<-accepted
			<-accepted
		}},
		"between two checks": {silent, probe.Config{Interval: time.Hour}, func(f *fixture) { f.waitForState(registry.Ready) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newStoppableProber(t, newFastProber(t, c.config))
			f := newFixtureWith(t, c.address, h)
			c.reach(f)
			h.stopAndWait(t)
			waitForNoGoroutines(t)
		})
	}
}

func TestCanceledProbeReportsNoFailure(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	h := newStoppableProber(t, newFastProber(t, probe.Config{URIs: []string{"/health"}, Fall: 1, Timeout: time.Hour}))
	f := newFixtureWith(t, a.address(), h)
	f.waitForState(registry.Ready)
	hanging := make(chan struct{}, 1)
	answer := answerSequence(500)
	a.setAnswer(func(w http.ResponseWriter, r *http.Request) {
		if f.endpoint().State == registry.Failing { // the check after the first failure
			hanging <- struct{}{}
			<-r.Context().Done()
			return
		}
		answer(w, r)
	})
	f.waitForState(registry.Failing)
	<-hanging
	h.stopAndWait(t)
	f.wantState(registry.Failing, "GET /health: status 500") // not the error of the canceled check
}

func TestFailingChecksBackOff(t *testing.T) {
	a := newFakeApp(t, answerStatus(503))
	newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	a.waitForRequests(1)
	start := time.Now()
	a.waitForRequests(3)
	if took := time.Since(start); took < 650*time.Millisecond { // 0.1 + 0.2 + 0.4 s, less the time that the first request took to arrive
		t.Errorf("three more requests within %s, want at least 650ms", took)
	}
}
