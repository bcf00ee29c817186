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
	address, _ := mute(t)
	s := newStage(t, address, probe.Config{})
	if reason := s.becomes(registry.Ready); reason != "accepts connections" {
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
	s := newStage(t, address, probe.Config{})
	for deadline := time.Now().Add(soon); !strings.Contains(s.endpoint().Reason, "refused"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("still %+v", s.endpoint())
		}
	}
	s.is(registry.Starting, "refused")
	ln, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.becomes(registry.Ready)
	ln.Close()
	if reason := s.becomes(registry.Failing); !strings.Contains(reason, "refused") {
		t.Errorf("failing because %q", reason)
	}
}

func TestRisePassesInARowMakeAnEndpointReady(t *testing.T) {
	a := newApp(t, script(200, 200, 500, 200, 200, 200))
	s := newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Rise: 3, Interval: time.Hour})
	s.becomes(registry.Ready)
	if n := len(a.asked); n != 6 {
		t.Errorf("ready after %d checks, want 6: three in a row", n)
	}
}

func TestFallFailuresInARowMakeAnEndpointFailing(t *testing.T) {
	a := newApp(t, script(200, 500, 500, 200, 500, 500, 200, 502, 502, 502))
	s := newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 3})
	s.becomes(registry.Ready)
	if reason := s.becomes(registry.Failing); reason != "GET /health: status 502, want 2xx" {
		t.Errorf("failing because %q", reason)
	}
	if n := len(a.asked); n < 10 || n > 11 { // one more may be on its way: now it is tried anew
		t.Errorf("failing after %d checks, want 10: three in a row", n)
	}
	a.becomes(status(200))
	if reason := s.becomes(registry.Ready); reason != "GET /health passed" {
		t.Errorf("ready again because %q", reason)
	}
}

func TestAReadyEndpointThatFailsNowAndThenStaysReady(t *testing.T) {
	a := newApp(t, status(200))
	s := newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Fall: 2})
	s.becomes(registry.Ready)
	var turn atomic.Int32
	a.becomes(func(w http.ResponseWriter, _ *http.Request) {
		if turn.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	a.isAsked(20)
	s.is(registry.Ready, "GET /health passed")
	if len(s.changes) > 0 {
		t.Errorf("it became %s in between", (<-s.changes).To)
	}
}

func TestAFailedDialIsLookedIntoAtOnce(t *testing.T) {
	a := newApp(t, status(200))
	s := newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	s.becomes(registry.Ready)
	for range 3 {
		claim, err := s.service.Acquire(t.Context(), registry.Want{})
		if err != nil {
			t.Fatal(err)
		}
		claim.Release()
		claim.Refused("connection refused")
		if reason := s.becomes(registry.Failing); reason != "connection refused" {
			t.Errorf("failing because %q", reason)
		}
		s.becomes(registry.Ready) // within the hour
	}
	if n := len(a.asked); n != 4 {
		t.Errorf("asked %d times, want once more for each dial that failed", n)
	}
}

func TestAMendedEndpointIsLookedAtOnce(t *testing.T) {
	a := newApp(t, status(200))
	s := newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour, Fall: 1})
	s.becomes(registry.Ready)
	a.isAsked(1)
	s.set(a.address(), "paused")
	s.becomes(registry.Failing)
	a.becomes(status(500))
	s.set(a.address(), "")
	s.becomes(registry.Ready) // that is what was found last
	a.isAsked(1)              // within the hour
	s.becomes(registry.Failing)
}

func TestAProbeEndsWithItsContext(t *testing.T) {
	silent, accepted := mute(t)
	for name, c := range map[string]struct {
		address string
		config  probe.Config
		under   func(s *stage) // waits until the probe is where it shall be ended
	}{
		"while nothing listens": {"127.0.0.1:1", probe.Config{}, func(*stage) {}},
		"while it is not answered": {silent, probe.Config{URIs: []string{"/"}, Timeout: time.Hour}, func(*stage) {
			<-accepted
			<-accepted
		}},
		"between two checks": {silent, probe.Config{Interval: time.Hour}, func(s *stage) { s.becomes(registry.Ready) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t, newProber(t, c.config))
			s := newStageWith(t, c.address, h)
			c.under(s)
			h.end(t)
			noneLeft(t)
		})
	}
}

func TestAProbeThatIsEndedBlamesNobody(t *testing.T) {
	a := newApp(t, status(200))
	h := newHeld(t, newProber(t, probe.Config{URIs: []string{"/health"}, Fall: 1, Timeout: time.Hour}))
	s := newStageWith(t, a.address(), h)
	s.becomes(registry.Ready)
	hanging := make(chan struct{}, 1)
	answer := script(500)
	a.becomes(func(w http.ResponseWriter, r *http.Request) {
		if s.endpoint().State == registry.Failing { // from then on, it is not answered
			hanging <- struct{}{}
			<-r.Context().Done()
			return
		}
		answer(w, r)
	})
	s.becomes(registry.Failing)
	<-hanging
	h.end(t)
	s.is(registry.Failing, "GET /health: status 500") // a reload ended the probe; the next one must find its own words
}

func TestAnApplicationThatSaysItIsNotReadyIsAskedLessAndLessOften(t *testing.T) {
	a := newApp(t, status(503))
	newStage(t, a.address(), probe.Config{URIs: []string{"/health"}, Interval: time.Hour})
	a.isAsked(1)
	began := time.Now()
	a.isAsked(3)
	if took := time.Since(began); took < 650*time.Millisecond { // 0.1 + 0.2 + 0.4 s, less what the first took to arrive
		t.Errorf("asked three times more within %s", took)
	}
}
