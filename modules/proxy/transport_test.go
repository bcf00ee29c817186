package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// watchState returns a channel that is closed when an endpoint enters a state.
func watchState(t testing.TB, address string, state registry.State) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	var once atomic.Bool
	stop := edge.WatchEndpoints(func(c registry.Change) {
		if c.Address == address && c.To == state && once.CompareAndSwap(false, true) {
			close(done)
		}
	})
	t.Cleanup(stop)
	return done
}

func TestAFailedDialMovesOnToAnotherEndpoint(t *testing.T) {
	a, b := newBackend(t, echo("a")).start(t), newBackend(t, echo("b")).start(t)
	s := serveReady(t, "edge_proxy api:80", a.address, b.address)
	a.stop()
	for range 20 { // a has no open connections, so each dial is refused
		if status, text, _ := s.send(t, http.MethodPost, "/", []byte("hello")); status != 200 || text != "b POST 5" {
			t.Fatalf("got %d %q, want b's response", status, text)
		}
	}
}

func TestAHeldPOSTArrivesWhole(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	for _, size := range []int{0, 1, 64 << 10, 1 << 20} { // buffered, and streamed
		a.stop()
		result := make(chan string)
		go func() {
			_, text, _ := s.send(t, http.MethodPost, "/", bytes.Repeat([]byte("x"), size))
			result <- text
		}()
		eventuallyHeld(t, 1)
		a.start(t)
		if text, want := <-result, fmt.Sprintf("a POST %d", size); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// eventuallyHeld waits until the given number of requests is held for api:80.
func eventuallyHeld(t *testing.T, want int) {
	t.Helper()
	eventually(t, func() bool {
		return slices.ContainsFunc(edge.Snapshot(), func(s registry.ServiceStatus) bool { return s.Service == "api:80" && s.Held == want })
	}, fmt.Sprintf("want %d held requests", want))
}

// wantHeldUntilClientLeaves checks that the edge holds a request, and no longer when its client disconnects.
func (s *site) wantHeldUntilClientLeaves(t *testing.T) {
	t.Helper()
	ctx, disconnect := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	eventuallyHeld(t, 1)
	disconnect()
	if err := <-done; err == nil {
		t.Error("the disconnected client got a response")
	}
	eventuallyHeld(t, 0)
}

func TestAClientThatLeavesIsNoLongerHeld(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	s.wantHeldUntilClientLeaves(t)
}

func TestAReloadNeitherFailsNorLosesAHeldRequest(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	result := make(chan string)
	go func() {
		_, text, _ := s.send(t, http.MethodPost, "/", []byte("hello"))
		result <- text
	}()
	eventuallyHeld(t, 1)
	reloaded := make(chan struct{})
	go func() { // the reload waits for the requests of the old configuration
		s.load(t, "header X-New yes\nedge_proxy api:80")
		close(reloaded)
	}()
	<-reloaded
	a.start(t)
	if text := <-result; text != "a POST 5" {
		t.Errorf("the held request got %q, want a POST 5", text)
	}
}

func TestASentRequestIsRetriedOnlyIfIdempotent(t *testing.T) {
	aborting := newAbortingBackend(t)
	good := newBackend(t, echo("good")).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n eject off\n retry_budget off\n}", aborting.address, good.address)
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"} {
		for range 10 {
			if status, _, _ := s.send(t, method, "/", nil); status != 200 {
				t.Errorf("%s: got %d, want the other endpoint's response", method, status)
			}
		}
	}
	for _, method := range []string{"POST", "PATCH"} {
		before, unknown := aborting.requests.Load(), int32(0)
		for range 20 {
			status, _, _ := s.send(t, method, "/", []byte("x"))
			if status == http.StatusBadGateway {
				unknown++
			}
		}
		if sent := aborting.requests.Load() - before; sent == 0 || sent != unknown {
			t.Errorf("%s: %d requests reached the aborting endpoint, %d got 502; want each sent once and answered with 502", method, sent, unknown)
		}
	}
}

func TestAServiceThatIsDownGets503WithRetryAfter(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80 {\n hold 300ms\n}")
	status, _, header := s.send(t, http.MethodGet, "/", nil)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("got %d with Retry-After %q, want 503 with Retry-After", status, header.Get("Retry-After"))
	}
	startedAt := time.Now()
	s.send(t, http.MethodGet, "/", nil)
	if took := time.Since(startedAt); took > 200*time.Millisecond {
		t.Errorf("the next request failed after %s, want at once", took)
	}
}

func TestTheEndpointIsAvailableAsPlaceholders(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n header_down X-Endpoint {edge.endpoint.address}/{edge.endpoint.id}\n}", a.address)
	_, _, header := s.send(t, http.MethodGet, "/", nil)
	if got, want := header.Get("X-Endpoint"), a.address+"/"+a.address; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEndpointPlaceholdersNameTheLastEndpoint(t *testing.T) {
	missing := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }).start(t)
	aborting, good := newAbortingBackend(t), newBackend(t, echo("good")).start(t)
	s := serve(t, map[string][]string{"first:80": {missing.address}, "second:80": {aborting.address, good.address}}, `
		edge_proxy first:80 {
			@missing status 404
			handle_response @missing {
				edge_proxy second:80 {
					retry_budget off
					header_down X-Endpoint {edge.endpoint.address}
				}
			}
		}`)
	s.eventuallyResponds(t, "/", "good")
	for range 10 { // half of them try the other endpoint first
		_, text, header := s.send(t, http.MethodGet, "/", nil)
		if text != "good GET 0" || header.Get("X-Endpoint") != good.address {
			t.Errorf("got %q from %s, want %s", text, header.Get("X-Endpoint"), good.address)
		}
	}
	if aborting.requests.Load() == 0 {
		t.Error("no request was retried")
	}
}

func TestTheConnectionHeaderCannotRemoveXRealIP(t *testing.T) {
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Values("X-Real-Ip"), r.Header.Values("X-Forwarded-For"))
	}).start(t)
	s := serveReady(t, "edge_proxy api:80", a.address)
	req, err := http.NewRequest(http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "X-Real-Ip, X-Forwarded-For")
	req.Header.Set("X-Real-Ip", "6.6.6.6")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "[127.0.0.1] [127.0.0.1]" {
		t.Errorf("the backend got %q, %v", text, err)
	}
}

func TestAnErrorPageCanShowTheDowntime(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	ready, failing := watchState(t, a.address, registry.Ready), watchState(t, a.address, registry.Failing)
	s := serve(t, map[string][]string{"api:80": {a.address}},
		"edge_proxy api:80 {\n hold 1s\n}\nhandle_errors {\n respond \"down:{edge.service.down}\"\n}")
	<-ready
	a.stop()
	status, text, h := s.send(t, http.MethodGet, "/", nil)
	<-failing
	if status != http.StatusServiceUnavailable || text != "down:a second" || h.Get("Retry-After") == "" {
		t.Errorf("got %d %q, Retry-After %q; want 503 \"down:a second\" with Retry-After", status, text, h.Get("Retry-After"))
	}
}

// TestServicesOfSeveralNamesArePools: a second service of the same application, as the compose file of two servers has it.
func TestServicesOfSeveralNamesArePools(t *testing.T) {
	first, second := newBackend(t, echo("first")).start(t), newBackend(t, echo("second")).start(t)
	s := serve(t, map[string][]string{"api:80": {first.address}, "api-2:80": {second.address}},
		"edge_proxy api-2:80 api:80 {\n header_up Host {upstream_hostport}\n header_down X-Host {http.reverse_proxy.upstream.hostport}\n}")
	for _, want := range []string{"first GET 0", "second GET 0"} {
		s.eventuallyResponds(t, "/", want)
	}
	if _, _, header := s.send(t, http.MethodGet, "/", nil); header.Get("X-Host") != "api:80" {
		t.Errorf("the upstream is %q, want api:80", header.Get("X-Host"))
	}
	if status := edge.Snapshot(); len(status) != 1 || status[0].Service != "api:80,api-2:80" || status[0].Ready != 2 {
		t.Errorf("got the services %+v, want one with two endpoints", status)
	}
}
