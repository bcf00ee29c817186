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

func TestFirstURIThatPassesIsKept(t *testing.T) {
	a := newFakeApp(t, answerPaths(map[string]int{"/b": 200, "/c": 200}))
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b", "/c"}, Fall: 1})
	if reason := f.waitForState(registry.Ready); reason != "GET /b passed" {
		t.Errorf("the reason is %q", reason)
	}
	if got := a.waitForRequests(6); !slices.Equal(got, []string{"/a", "/b", "/b", "/b", "/b", "/b"}) {
		t.Errorf("requests for %q, want /a and /b, and then only /b", got)
	}
	a.setAnswer(answerPaths(map[string]int{"/a": 200, "/c": 200}))
	if reason := f.waitForState(registry.Failing); reason != "GET /b: status 404, want 2xx" {
		t.Errorf("the reason is %q", reason)
	}
	for len(a.requests) > 0 {
		<-a.requests
	}
	if got := a.waitForRequests(3); !slices.Equal(got, []string{"/b", "/b", "/b"}) {
		t.Errorf("requests for %q, want only /b", got)
	}
	f.wantState(registry.Failing, "/b")
}

func TestFallbackToTCPWhenNoURIExists(t *testing.T) {
	for _, code := range []int{404, 405, 501} {
		t.Run(fmt.Sprintf("%d passes if TCP is allowed", code), func(t *testing.T) {
			a := newFakeApp(t, answerStatus(code))
			f := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}, TCP: true})
			if reason := f.waitForState(registry.Ready); reason != "accepts connections; none of the probe's URIs exists" {
				t.Errorf("the reason is %q", reason)
			}
			a.waitForRequests(2)
			a.Close() // a TCP check finds this
			f.waitForState(registry.Failing)
			if n := len(a.requests); n > 0 {
				t.Errorf("%d more requests for missing URIs", n)
			}
		})
		t.Run(fmt.Sprintf("%d fails if TCP is not allowed", code), func(t *testing.T) {
			a := newFakeApp(t, answerStatus(code))
			f := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}})
			a.waitForRequests(6)
			f.wantState(registry.Starting, fmt.Sprintf("GET /a: status %d, want 2xx", code))
		})
	}
	t.Run("another error status does not fall back to TCP", func(t *testing.T) {
		a := newFakeApp(t, answerPaths(map[string]int{"/b": 503}))
		f := newFixture(t, a.address(), probe.Config{URIs: []string{"/a", "/b"}, TCP: true})
		a.waitForRequests(6)
		f.wantState(registry.Starting, "GET /a: status 404")
	})
}

func TestFallbackToTCPIsLogged(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	p, err := probe.New(probe.Config{URIs: []string{"/a"}, TCP: true}, zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newFakeApp(t, answerStatus(404))
	f := newFixtureWith(t, a.address(), p)
	f.waitForState(registry.Ready)
	all := logs.FilterLevelExact(zap.WarnLevel).All()
	if len(all) != 1 || all[0].ContextMap()["service"] != "api:80" || all[0].ContextMap()["address"] != a.address() {
		t.Errorf("the log says %v, want one warning that names service and address", logs.All())
	}
}

func TestConfiguredStatusPasses(t *testing.T) {
	for _, c := range []struct {
		status string
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
		t.Run(fmt.Sprintf("%s of %d", c.status, c.code), func(t *testing.T) {
			a := newFakeApp(t, func(w http.ResponseWriter, r *http.Request) {
				if c.code/100 == 3 {
					w.Header().Set("Location", "/elsewhere")
				}
				answerStatus(c.code)(w, r)
			})
			f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Status: c.status})
			if c.passes {
				f.waitForState(registry.Ready)
			}
			if got := a.waitForRequests(3); slices.Contains(got, "/elsewhere") {
				t.Errorf("requests for %q: the probe followed a redirect", got)
			}
			if !c.passes {
				f.wantState(registry.Starting, fmt.Sprintf("GET /health: status %d, want ", c.code))
			}
		})
	}
}

func TestBodyMustMatch(t *testing.T) {
	const limit = 64 << 10
	for _, c := range []struct {
		name, pattern, body string
		passes              bool
	}{
		{"match", `"status":\s*"ok"`, `{"status": "ok"}`, true},
		{"no match", `"status":\s*"ok"`, `{"status": "starting"}`, false},
		{"empty", `ok`, ``, false},
		{"match at the end", `^x*ok$`, strings.Repeat("x", limit-2) + "ok", true},
		{"match after 64 KiB", `ok`, strings.Repeat("x", limit-1) + "ok", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newFakeApp(t, answerBody(c.body))
			f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Body: c.pattern})
			if c.passes {
				f.waitForState(registry.Ready)
				return
			}
			a.waitForRequests(3)
			f.wantState(registry.Starting, "GET /health: the body does not match ")
		})
	}
}

func TestCheckSendsTheConfiguredRequest(t *testing.T) {
	for _, c := range []struct{ host, wantHost string }{{"", "api:80"}, {"shop.example", "shop.example"}} {
		requests := make(chan *http.Request, 100)
		a := newFakeApp(t, func(_ http.ResponseWriter, r *http.Request) { requests <- r })
		newFixture(t, a.address(), probe.Config{URIs: []string{"/health?deep=1"}, Host: c.host, Interval: time.Hour}).waitForState(registry.Ready)
		r := <-requests
		if r.Method != http.MethodGet || r.RequestURI != "/health?deep=1" || r.Host != c.wantHost || r.UserAgent() != "edge-probe" {
			t.Errorf("got %s %s with Host %s and User-Agent %s", r.Method, r.RequestURI, r.Host, r.UserAgent())
		}
		if !r.Close {
			t.Error("the check keeps its connection")
		}
	}
}

func TestCheckWithoutAnAnswerTimesOut(t *testing.T) {
	address, accepted := newSilentListener(t)
	f := newFixture(t, address, probe.Config{URIs: []string{"/health"}, Timeout: 50 * time.Millisecond})
	for range 6 { // each round makes one connection for TCP and one for HTTP
		select {
		case <-accepted:
		case <-time.After(maxWait):
			t.Fatal("a check does not time out")
		}
	}
	f.wantState(registry.Starting, "deadline exceeded")
}

func TestCheckWithAStalledBodyTimesOut(t *testing.T) {
	done := make(chan struct{})
	stall := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "o")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}
	a := newFakeApp(t, answerBody("ok"))
	defer close(done)
	f := newFixture(t, a.address(), probe.Config{URIs: []string{"/health"}, Body: "ok", Timeout: 50 * time.Millisecond, Fall: 2})
	f.waitForState(registry.Ready)
	a.setAnswer(stall)
	if reason := f.waitForState(registry.Failing); !strings.Contains(reason, "read the body") {
		t.Errorf("the reason is %q, want a failed read of the body", reason)
	}
	a.setAnswer(answerBody("ok"))
	f.waitForState(registry.Ready)
}
