package probe_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

func TestTheFirstURIThatPassesIsKept(t *testing.T) {
	a := newFakeApp(t, answerPaths(map[string]int{"/b": 200, "/c": 200}))
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b", "/c"}, Fall: 1})
	if reason := s.waitForState(registry.Ready); reason != "GET /b passed" {
		t.Errorf("ready because %q", reason)
	}
	if got := a.waitForRequests(6); !slices.Equal(got, []string{"/a", "/b", "/b", "/b", "/b", "/b"}) {
		t.Errorf("asked %q, want /a and /b in order, and /b from then on", got)
	}
	a.setAnswer(answerPaths(map[string]int{"/a": 200, "/c": 200}))
	if reason := s.waitForState(registry.Failing); reason != "GET /b: status 404, want 2xx" {
		t.Errorf("failing because %q", reason)
	}
	for len(a.requests) > 0 {
		<-a.requests
	}
	if got := a.waitForRequests(3); !slices.Equal(got, []string{"/b", "/b", "/b"}) {
		t.Errorf("asked %q, want the kept /b", got)
	}
	s.wantState(registry.Failing, "/b")
}

func TestFallbackToTCPWhenNoURIExists(t *testing.T) {
	for _, code := range []int{404, 405, 501} {
		t.Run(fmt.Sprintf("%d is ready by TCP if that is allowed", code), func(t *testing.T) {
			a := newFakeApp(t, answerStatus(code))
			s := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}, TCP: true})
			if reason := s.waitForState(registry.Ready); reason != "accepts connections; none of the probe's URIs exists" {
				t.Errorf("ready because %q", reason)
			}
			a.waitForRequests(2)
			a.Close() // TCP is what is checked now
			s.waitForState(registry.Failing)
			if n := len(a.requests); n > 0 {
				t.Errorf("asked %d times more for what does not exist", n)
			}
		})
		t.Run(fmt.Sprintf("%d is not ready if it is not", code), func(t *testing.T) {
			a := newFakeApp(t, answerStatus(code))
			s := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}})
			a.waitForRequests(6)
			s.wantState(registry.Starting, fmt.Sprintf("GET /a: status %d, want 2xx", code))
		})
	}
	t.Run("an error is no sign that a URI does not exist", func(t *testing.T) {
		a := newFakeApp(t, answerPaths(map[string]int{"/b": 503}))
		s := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}, TCP: true})
		a.waitForRequests(6)
		s.wantState(registry.Starting, "GET /a: status 404")
	})
}

func TestFallbackToTCPIsLogged(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	p, err := probe.New(probe.Config{URIs: []string{"/a"}, TCP: true}, zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newFakeApp(t, answerStatus(404))
	s := newFixtureWith(t, a.address(), p)
	s.waitForState(registry.Ready)
	all := logs.FilterLevelExact(zap.WarnLevel).All()
	if len(all) != 1 || all[0].ContextMap()["service"] != "api:80" || all[0].ContextMap()["address"] != a.address() {
		t.Errorf("the log says %v, want one warning that names service and address", logs.All())
	}
}

func TestWhichStatusPasses(t *testing.T) {
	for _, c := range []struct {
		want   string
		code   int
		passes bool
	}{
		{"", 200, true},
		{"", 204, true},
		{"", 299, true},
		{"", 301, false},
		{"", 404, false},
		{"", 500, false},
		{"2xx", 201, true},
		{"2xx", 300, false},
		{"200", 200, true},
		{"200", 204, false},
		{"204", 204, true},
		{"3xx", 302, true},
		{"401", 401, true},
		{"4xx", 200, false},
		{"404", 404, true},
	} {
		t.Run(fmt.Sprintf("%s of %d", c.want, c.code), func(t *testing.T) {
			a := newFakeApp(t, func(w http.ResponseWriter, r *http.Request) {
				if c.code/100 == 3 {
					w.Header().Set("Location", "/elsewhere")
				}
				answerStatus(c.code)(w, r)
			})
			s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Status: c.want})
			if c.passes {
				s.waitForState(registry.Ready)
			}
			if got := a.waitForRequests(3); slices.Contains(got, "/elsewhere") {
				t.Errorf("asked %q: a redirect was followed", got)
			}
			if !c.passes {
				s.wantState(registry.Starting, fmt.Sprintf("GET /health: status %d, want ", c.code))
			}
		})
	}
}

func TestTheBodyMustMatch(t *testing.T) {
	const limit = 64 << 10
	for _, c := range []struct {
		name, pattern, body string
		passes              bool
	}{
		{"it does", `"status":\s*"ok"`, `{"status": "ok"}`, true},
		{"it does not", `"status":\s*"ok"`, `{"status": "starting"}`, false},
		{"it is empty", `ok`, ``, false},
		{"at its end", `^x*ok$`, strings.Repeat("x", limit-2) + "ok", true},
		{"behind its first 64 KiB", `ok`, strings.Repeat("x", limit-1) + "ok", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newFakeApp(t, answerBody(c.body))
			s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Body: c.pattern})
			if c.passes {
				s.waitForState(registry.Ready)
				return
			}
			a.waitForRequests(3)
			s.wantState(registry.Starting, "GET /health: the body does not match ")
		})
	}
}

func TestCheckSendsTheConfiguredRequest(t *testing.T) {
	for _, c := range []struct{ host, want string }{{"", "api:80"}, {"shop.example", "shop.example"}} {
		heads := make(chan *http.Request, 100)
		a := newFakeApp(t, func(_ http.ResponseWriter, r *http.Request) { heads <- r })
		newFixture(t, a.address(), probe.Config{URIs: []string{"/health?deep=1"}, Host: c.host, Interval: time.Hour}).waitForState(registry.Ready)
		r := <-heads
		if r.Method != http.MethodGet || r.RequestURI != "/health?deep=1" || r.Host != c.want || r.UserAgent() != "edge-probe" {
			t.Errorf("asked %s %s of %s as %s", r.Method, r.RequestURI, r.Host, r.UserAgent())
		}
		if !r.Close {
			t.Error("the check's connection is kept")
		}
	}
}

func TestAnApplicationThatAcceptsAndNeverAnswersTimesOut(t *testing.T) {
	address, accepted := newSilentListener(t)
	s := newFixture(t, address, probe.Config{URIs: []string{"/health"}, Timeout: 50 * time.Millisecond})
	for range 6 { // each round is one connection to see that it listens, and one to ask
		select {
		case <-accepted:
		case <-time.After(maxWait):
			t.Fatal("one check waits for ever")
		}
	}
	s.wantState(registry.Starting, "deadline exceeded")
}

func TestAnApplicationThatStallsInItsAnswerTimesOut(t *testing.T) {
	stalling := make(chan struct{})
	stall := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "o")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-stalling:
		}
	}
	a := newFakeApp(t, answerBody("ok"))
	defer close(stalling)
	s := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Body: "ok", Timeout: 50 * time.Millisecond, Fall: 2})
	s.waitForState(registry.Ready)
	a.setAnswer(stall)
	if reason := s.waitForState(registry.Failing); !strings.Contains(reason, "read the body") {
		t.Errorf("failing because %q", reason)
	}
	a.setAnswer(answerBody("ok"))
	s.waitForState(registry.Ready)
}
