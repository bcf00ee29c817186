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

// serveTwoBackends starts two applications behind a site, and waits until they are ready.
func serveTwoBackends(t *testing.T, handler http.HandlerFunc, directives string) *site {
	t.Helper()
	a, b := newBackend(t, handler).start(t), newBackend(t, handler).start(t)
	readyA, readyB := watchState(t, a.address, registry.Ready), watchState(t, b.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {a.address, b.address}}, directives)
	<-readyA
	<-readyB
	return s
}

// sendRaw sends bytes on a connection of its own and returns the status of the answer; 0 if there is none.
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

// wantNoEjectionOrRetry sees that nobody was ejected for what a client did, and that it cost no retry.
func wantNoEjectionOrRetry(t *testing.T) {
	t.Helper()
	status := edge.Snapshot()[0]
	if status.Ready != 2 || status.Retries != 0 {
		t.Errorf("%d of 2 are ready, %d retries", status.Ready, status.Retries)
	}
}

const upgradeHeaders = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

// TestAnUpgradeClosedWithoutAResponseEjectsNobody: that is how Socket.IO refuses one at a path it doesn't know.
func TestAnUpgradeClosedWithoutAResponseEjectsNobody(t *testing.T) {
	var upgrades atomic.Int32
	s := serveTwoBackends(t, func(http.ResponseWriter, *http.Request) {
		upgrades.Add(1)
		panic(http.ErrAbortHandler)
	}, "edge_proxy api:80")
	for range 20 {
		if status := s.sendRaw(t, "GET / HTTP/1.1\r\n"+upgradeHeaders+"\r\n"); status != http.StatusBadGateway {
			t.Fatalf("status %d", status)
		}
	}
	if n := upgrades.Load(); n != 20 {
		t.Errorf("20 requests became %d", n)
	}
	wantNoEjectionOrRetry(t)
}

func TestAMalformedRequestBodyGets400(t *testing.T) {
	s := serveTwoBackends(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, "edge_proxy api:80")
	for range 20 {
		if status := s.sendRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"); status != http.StatusBadRequest {
			t.Fatalf("status %d, want 400", status)
		}
	}
	wantNoEjectionOrRetry(t)
	if lost := edge.Snapshot()[0].Lost; lost != (registry.Lost{}) {
		t.Errorf("counted as lost: %+v", lost)
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
			t.Errorf("status %d for %q", status, request)
		}
	}
}

// TestATimedOutRequestIsRetriedIfItsEndpointFails: it accepts connections and never answers.
func TestATimedOutRequestIsRetriedIfItsEndpointFails(t *testing.T) {
	var hung atomic.Bool
	stuck := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if hung.Load() && r.URL.Path != "/" {
			<-r.Context().Done()
		}
		if hung.Load() {
			w.WriteHeader(http.StatusTeapot) // to its probe
		}
	}).start(t)
	well := newBackend(t, echo("well")).start(t)
	ready, failing := watchState(t, stuck.address, registry.Ready), watchState(t, stuck.address, registry.Failing)
	s := serve(t, map[string][]string{"api:80": {stuck.address}}, "")
	s.static["api:80"] = []string{stuck.address, well.address}
	readyWell := watchState(t, well.address, registry.Ready)
	s.load(t, "edge_proxy api:80 {\n probe {\n uri /\n interval 100ms\n fall 1\n }\n timeouts {\n response 2s\n }\n}")
	<-ready
	<-readyWell
	hung.Store(true)
	<-failing
	back := watchState(t, stuck.address, registry.Ready)
	hung.Store(false)
	<-back
	answers := make(chan string)
	hung.Store(true)
	for range 10 {
		go func() {
			resp, err := http.Get(s.url + "/report")
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			answers <- resp.Status + " " + string(text)
		}()
	}
	for range 10 {
		if answer := <-answers; !strings.HasPrefix(answer, "200 OK well") {
			t.Errorf("got %s", answer)
		}
	}
}

func TestOneCutConnectionDoesNotEndASession(t *testing.T) {
	var cut atomic.Bool
	s := serveTwoBackends(t, func(w http.ResponseWriter, r *http.Request) {
		own := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		switch sid := r.URL.Query().Get("sid"); {
		case r.URL.Query().Get("EIO") == "":
		case sid == "":
			fmt.Fprintf(w, `0{"sid":%q}`, strings.NewReplacer(":", "_", ".", "_").Replace(own))
		case sid != strings.NewReplacer(":", "_", ".", "_").Replace(own):
			w.WriteHeader(http.StatusBadRequest)
		case cut.CompareAndSwap(false, true):
			panic(http.ErrAbortHandler)
		}
	}, "edge_proxy api:80 {\n affinity socketio\n}")
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	if status, _, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body)); status != http.StatusOK || !cut.Load() {
		t.Errorf("status %d, cut %t", status, cut.Load())
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
			t.Errorf("%d sessions are remembered, none of which any server began", e.Sessions)
		}
	}
}
