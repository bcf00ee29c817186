package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// watchState returns a channel that is closed when some endpoint enters a state.
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
	readyA, readyB := watchState(t, a.address, registry.Ready), watchState(t, b.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {a.address, b.address}}, "edge_proxy api:80")
	<-readyA
	<-readyB
	a.stop()
	for range 20 { // whatever the method; a's connections were never made, so that each dial is refused
		if status, text, _ := s.send(t, http.MethodPost, "/", []byte("hello")); status != 200 || text != "b POST 5" {
			t.Fatalf("%d %q, want b's answer", status, text)
		}
	}
}

func TestAHeldPOSTArrivesWhole(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	for _, size := range []int{0, 1, 64 << 10, 1 << 20} { // kept, and passed on
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

// eventuallyHeld waits until so many requests are held for api:80.
func eventuallyHeld(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		for _, s := range edge.Snapshot() {
			if s.Service == "api:80" && s.Held == want {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("never %d held: %+v", want, edge.Snapshot())
		}
	}
}

func TestAClientThatLeavesIsNoLongerHeld(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	ctx, leave := context.WithCancel(t.Context())
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
	leave()
	if err := <-done; err == nil {
		t.Error("the client that left got an answer")
	}
	eventuallyHeld(t, 0)
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
	go func() { // it waits for the old configuration's requests
		s.load(t, "header X-New yes\nedge_proxy api:80")
		close(reloaded)
	}()
	<-reloaded
	a.start(t)
	if text := <-result; text != "a POST 5" {
		t.Errorf("the held request got %q", text)
	}
}

// startAbortingServer is a server that reads a request and closes the connection; its first answers, to probes, are none.
func startAbortingServer(t *testing.T, requests *atomic.Int32) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if n, err := conn.Read(make([]byte, 4096)); err == nil && n > 0 {
					requests.Add(1)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func TestASentRequestIsRetriedOnlyIfIdempotent(t *testing.T) {
	var cut atomic.Int32
	rude := startAbortingServer(t, &cut)
	good := newBackend(t, echo("good")).start(t)
	readyRude, readyGood := watchState(t, rude, registry.Ready), watchState(t, good.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {rude, good.address}}, "edge_proxy api:80 {\n eject off\n retry_budget off\n}")
	<-readyRude
	<-readyGood
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"} {
		for range 10 {
			if status, _, _ := s.send(t, method, "/", nil); status != 200 {
				t.Errorf("%s: %d, want the other endpoint's answer", method, status)
			}
		}
	}
	for _, method := range []string{"POST", "PATCH"} {
		before, unknown := cut.Load(), int32(0)
		for range 20 {
			status, _, _ := s.send(t, method, "/", []byte("x"))
			if status == http.StatusBadGateway {
				unknown++
			}
		}
		if sent := cut.Load() - before; sent == 0 || sent != unknown {
			t.Errorf("%s: sent %d times to the rude one, %d unknown; want each once, and each 502", method, sent, unknown)
		}
	}
}

func TestAServiceThatIsDownGets503WithRetryAfter(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80 {\n hold 300ms\n}")
	status, _, header := s.send(t, http.MethodGet, "/", nil)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d with Retry-After %q, want 503 with one", status, header.Get("Retry-After"))
	}
	began := time.Now()
	s.send(t, http.MethodGet, "/", nil)
	if took := time.Since(began); took > 200*time.Millisecond {
		t.Errorf("the next one waited %s; it should fail at once", took)
	}
}

func TestTheEndpointIsAvailableAsPlaceholders(t *testing.T) {
	a := newBackend(t, echo("a")).start(t)
	ready := watchState(t, a.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80 {\n header_down X-Endpoint {edge.endpoint.address}/{edge.endpoint.id}\n}")
	<-ready
	_, _, header := s.send(t, http.MethodGet, "/", nil)
	if got, want := header.Get("X-Endpoint"), a.address+"/"+a.address; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheConnectionHeaderCannotRemoveXRealIP(t *testing.T) {
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Values("X-Real-Ip"), r.Header.Values("X-Forwarded-For"))
	}).start(t)
	ready := watchState(t, a.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	<-ready
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
		t.Errorf("the backend saw %q %v", text, err)
	}
}
