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
)

func TestWithoutURIsAListenerIsReady(t *testing.T) {
	address, _ := newSilentListener(t)
	s := newFixture(t, address, probe.Config{})
	if reason := s.waitForState(registry.Ready); reason != "accepts connections" {
		t.Errorf("ready because %q", reason)
	}
}

func TestAnEndpointIsReadyOnceItListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	s := newFixture(t, address, probe.Config{})
	for deadline := time.Now().Add(maxWait); !strings.Contains(s.endpoint().Reason, "refused"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("still %+v", s.endpoint())
		}
	}
	s.wantState(registry.Starting, "refused")
	ln, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.waitForState(registry.Ready)
	ln.Close()
	if reason := s.waitForState(registry.Failing); !strings.Contains(reason, "refused") {
		t.Errorf("failing because %q", reason)
	}
}

func TestRisePassesInARowMakeAnEndpointReady(t *testing.T) {
	a := newFakeApp(t, answerSequence(200, 200, 500, 200, 200, 200))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Rise: 3, Interval: time.Hour})
	s.waitForState(registry.Ready)
	if n := len(a.requests); n != 6 {
		t.Errorf("ready after %d checks, want 6: three in a row", n)
	}
}

func TestFallFailuresInARowMakeAnEndpointFailing(t *testing.T) {
	a := newFakeApp(t, answerSequence(200, 500, 500, 200, 500, 500, 200, 502, 502, 502))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 3})
	s.waitForState(registry.Ready)
	if reason := s.waitForState(registry.Failing); reason != "GET /health: status 502, want 2xx" {
		t.Errorf("failing because %q", reason)
	}
	if n := len(a.requests); n < 10 || n > 11 { // one more may be on its way: now it is tried anew
		t.Errorf("failing after %d checks, want 10: three in a row", n)
	}
	a.setAnswer(answerStatus(200))
	if reason := s.waitForState(registry.Ready); reason != "GET /health passed" {
		t.Errorf("ready again because %q", reason)
	}
}

func TestAReadyEndpointThatFailsNowAndThenStaysReady(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 2})
	s.waitForState(registry.Ready)
	var turn atomic.Int32
	a.setAnswer(func(w http.ResponseWriter, _ *http.Request) {
		if turn.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	a.waitForRequests(20)
	s.wantState(registry.Ready, "GET /health passed")
	if len(s.changes) > 0 {
		t.Errorf("it became %s in between", (<-s.changes).To)
	}
}

func TestFailedDialTriggersACheckAtOnce(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	s.waitForState(registry.Ready)
	for range 3 {
		claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		claim.Release()
		claim.ReportDialError("connection refused")
		if reason := s.waitForState(registry.Failing); reason != "connection refused" {
			t.Errorf("failing because %q", reason)
		}
		s.waitForState(registry.Ready) // within the hour
	}
	if n := len(a.requests); n != 4 {
		t.Errorf("asked %d times, want once more for each dial that failed", n)
	}
}

func TestRecoveredEndpointIsCheckedAtOnce(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour, Fall: 1})
	s.waitForState(registry.Ready)
	a.waitForRequests(1)
	s.setEndpoint(a.address(), "paused")
	s.waitForState(registry.Failing)
	a.setAnswer(answerStatus(500))
	s.setEndpoint(a.address(), "")
	s.waitForState(registry.Ready) // that is what was found last
	a.waitForRequests(1)           // within the hour
	s.waitForState(registry.Failing)
}

func TestAProbeEndsWithItsContext(t *testing.T) {
	silent, accepted := newSilentListener(t)
	for name, c := range map[string]struct {
		address string
		config  probe.Config
		under   func(s *fixture) // waits until the probe is where it shall be ended
	}{
		"while nothing listens": {"127.0.0.1:1", probe.Config{}, func(*fixture) {}},
		"while it is not answered": {silent, probe.Config{URIs: []string{"/"}, Timeout: time.Hour}, func(*fixture) {
			<-accepted
			<-accepted
		}},
		"between two checks": {silent, probe.Config{Interval: time.Hour}, func(s *fixture) { s.waitForState(registry.Ready) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newStoppableProber(t, newFastProber(t, c.config))
			s := newFixtureWith(t, c.address, h)
			c.under(s)
			h.stopAndWait(t)
			waitForNoGoroutines(t)
		})
	}
}

func TestCanceledProbeReportsNoFailure(t *testing.T) {
	a := newFakeApp(t, answerStatus(200))
	h := newStoppableProber(t, newFastProber(t, probe.Config{URIs: []string{"/health"}, Fall: 1, Timeout: time.Hour}))
	s := newFixtureWith(t, a.address(), h)
	s.waitForState(registry.Ready)
	hanging := make(chan struct{}, 1)
	answer := answerSequence(500)
	a.setAnswer(func(w http.ResponseWriter, r *http.Request) {
		if s.endpoint().State == registry.Failing { // from then on, it is not answered
			hanging <- struct{}{}
			<-r.Context().Done()
			return
		}
		answer(w, r)
	})
	s.waitForState(registry.Failing)
	<-hanging
	h.stopAndWait(t)
	s.wantState(registry.Failing, "GET /health: status 500") // a reload ended the probe; the next one must find its own words
}

func TestFailingChecksBackOff(t *testing.T) {
	a := newFakeApp(t, answerStatus(503))
	newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	a.waitForRequests(1)
	began := time.Now()
	a.waitForRequests(3)
	if took := time.Since(began); took < 650*time.Millisecond { // 0.1 + 0.2 + 0.4 s, less what the first took to arrive
		t.Errorf("asked three times more within %s", took)
	}
}
