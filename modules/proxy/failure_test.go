package proxy_test

import (
	"bufio"
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

// serveTwoBackends starts two backends behind a site, and waits until they are ready.
func serveTwoBackends(t *testing.T, handler http.HandlerFunc, directives string) *site {
	t.Helper()
	a, b := newBackend(t, handler).start(t), newBackend(t, handler).start(t)
	return serveReady(t, directives, a.address, b.address)
}

// sendRaw sends bytes on its own connection and returns the status of the response; 0 if there is none.
func (s *site) sendRaw(t *testing.T, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// wantNoEjectionOrRetry checks that a client's fault has ejected no endpoint and used no retry.
func wantNoEjectionOrRetry(t *testing.T) {
	t.Helper()
	status := edge.Snapshot()[0]
	if status.Ready != 2 || status.Retries != 0 {
		t.Errorf("got %d ready endpoints and %d retries, want 2 and 0", status.Ready, status.Retries)
	}
}

const upgradeHeaders = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

// TestAnUpgradeClosedWithoutAResponseEjectsNobody: Socket.IO rejects an upgrade at an unknown path so.
func TestAnUpgradeClosedWithoutAResponseEjectsNobody(t *testing.T) {
	var upgrades atomic.Int32
	s := serveTwoBackends(t, func(http.ResponseWriter, *http.Request) {
		upgrades.Add(1)
		panic(http.ErrAbortHandler)
	}, "edge_proxy api:80")
	for range 20 {
		if status := s.sendRaw(t, "GET / HTTP/1.1\r\n"+upgradeHeaders+"\r\n"); status != http.StatusBadGateway {
			t.Fatalf("got %d, want 502", status)
		}
	}
	if n := upgrades.Load(); n != 20 {
		t.Errorf("the backend got %d requests, want 20", n)
	}
	wantNoEjectionOrRetry(t)
}

func TestAMalformedRequestBodyGets400(t *testing.T) {
	s := serveTwoBackends(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, "edge_proxy api:80")
	for range 20 {
		if status := s.sendRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"); status != http.StatusBadRequest {
			t.Fatalf("got %d, want 400", status)
		}
	}
	wantNoEjectionOrRetry(t)
	if lost := edge.Snapshot()[0].Lost; lost != (registry.Lost{}) {
		t.Errorf("lost requests: got %+v, want none", lost)
	}
}

func TestAnUnsupportedUpgradeIsAnOrdinaryRequest(t *testing.T) {
	s := serveTwoBackends(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprint(w, r.Header.Get("Upgrade"), len(body))
	}, "edge_proxy api:80")
	for _, request := range []string{
		"GET / HTTP/1.0\r\n" + upgradeHeaders + "\r\n",
		"POST / HTTP/1.1\r\n" + upgradeHeaders + "Content-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + upgradeHeaders + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		if status := s.sendRaw(t, request); status != http.StatusOK {
			t.Errorf("got %d for %q, want 200", status, request)
		}
	}
}

// TestATimedOutRequestIsRetriedIfItsEndpointFails: the endpoint accepts connections and does not respond.
func TestATimedOutRequestIsRetriedIfItsEndpointFails(t *testing.T) {
	var hung atomic.Bool
	stuck := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if hung.Load() && r.URL.Path != "/" {
			<-r.Context().Done()
		}
		if hung.Load() {
			w.WriteHeader(http.StatusTeapot) // in response to the probe
		}
	}).start(t)
	healthy := newBackend(t, echo("healthy")).start(t)
	ready, failing := watchState(t, stuck.address, registry.Ready), watchState(t, stuck.address, registry.Failing)
	s := serve(t, map[string][]string{"api:80": {stuck.address}}, "")
	s.static["api:80"] = []string{stuck.address, healthy.address}
	readyHealthy := watchState(t, healthy.address, registry.Ready)
	s.load(t, "edge_proxy api:80 {\n probe {\n uri /\n interval 100ms\n fall 1\n }\n timeouts {\n response 2s\n }\n}")
	<-ready
	<-readyHealthy
	hung.Store(true)
	<-failing
	readyAgain := watchState(t, stuck.address, registry.Ready)
	hung.Store(false)
	<-readyAgain
	responses := make(chan string)
	hung.Store(true)
	for range 10 {
		go func() {
			resp, err := http.Get(s.url + "/report")
			if err != nil {
				responses <- err.Error()
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			responses <- resp.Status + " " + string(text)
		}()
	}
	for range 10 {
		if response := <-responses; !strings.HasPrefix(response, "200 OK healthy") {
			t.Errorf("got %q, want the response of the healthy endpoint", response)
		}
	}
}

func TestOneBrokenConnectionDoesNotEndASession(t *testing.T) {
	var isBroken atomic.Bool
	s := serveTwoBackends(t, func(w http.ResponseWriter, r *http.Request) {
		address := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		switch sid := r.URL.Query().Get("sid"); {
		case r.URL.Query().Get("EIO") == "":
		case sid == "":
			fmt.Fprintf(w, `0{"sid":%q}`, strings.NewReplacer(":", "_", ".", "_").Replace(address))
		case sid != strings.NewReplacer(":", "_", ".", "_").Replace(address):
			w.WriteHeader(http.StatusBadRequest)
		case isBroken.CompareAndSwap(false, true):
			panic(http.ErrAbortHandler)
		}
	}, "edge_proxy api:80 {\n affinity socketio\n}")
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	if status, _, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body)); status != http.StatusOK || !isBroken.Load() {
		t.Errorf("got %d, connection broken: %t; want 200 after a broken connection", status, isBroken.Load())
	}
}

func TestForgedSessionsAreNotRemembered(t *testing.T) {
	s := serveTwoBackends(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "edge_proxy api:80 {\n affinity socketio\n}")
	for i := range 50 {
		fetch(t, http.DefaultClient, fmt.Sprintf("%s/any/page?EIO=4&sid=forged%d", s.url, i))
		fetch(t, http.DefaultClient, fmt.Sprintf("%s/any/page?EIO=4&transport=polling&sid=forged%d", s.url, i))
	}
	for _, e := range edge.Snapshot()[0].Endpoints {
		if e.Sessions != 0 {
			t.Errorf("the edge has %d sessions, want 0: no server began one", e.Sessions)
		}
	}
}

func TestAClientThatStallsGets408(t *testing.T) {
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	s := b.serveSite(t, &site{globalOptions: "servers {\n timeouts {\n read_body_idle 500ms\n }\n}"}, "edge_proxy api:80")
	for _, length := range []int{100, 100_000} {
		for _, method := range []string{"POST", "PUT"} {
			conn := s.dial(t)
			writeRequest(t, conn, fmt.Sprintf("%s / HTTP/1.1\nHost: a\nContent-Length: %d\n\n", method, length))
			if _, err := conn.Write(make([]byte, length/2)); err != nil {
				t.Fatal(err)
			}
			if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("%s of %d bytes: got %s, want 408", method, length, resp.Status)
			}
		}
	}
}

// TestNoClientIsSent499: the status is only for the log. A client that closes its sending direction counts as disconnected and
// gets no response.
func TestNoClientIsSent499(t *testing.T) {
	reached := make(chan struct{}, 10)
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, rest *bufio.Reader) {
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, rest) // without a response
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	for _, request := range []string{
		"GET / HTTP/1.1\nHost: a\n\n",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 100000\n\nhello",
	} {
		conn := s.dial(t)
		writeRequest(t, conn, request)
		<-reached
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(conn)
		if len(text) > 0 {
			t.Errorf("%q: the client got %q, want nothing", request, text)
		}
	}
}
