package proxy_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/resource/resourcetest"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/modules/edge"
)

// TestClientsThatLeaveAreNoLongerHeld for bodies of which nothing, a part or almost all was sent.
func TestClientsThatLeaveAreNoLongerHeld(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80")
	var conns []net.Conn
	for _, sent := range []int{0, 10, 99_999} {
		for _, method := range []string{"POST", "PUT"} {
			conn := s.dial(t)
			writeRequest(t, conn, method+" / HTTP/1.1\nHost: a\nContent-Length: 100000\n\n")
			if _, err := conn.Write(make([]byte, sent)); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
	}
	eventuallyHeld(t, len(conns))
	for _, conn := range conns {
		conn.Close()
	}
	eventuallyHeld(t, 0)
	a.start(t)
	s.eventuallyResponds(t, "/", "a GET")
}

func TestOneClientCanHoldOnlyItsShare(t *testing.T) {
	a := newBackend(t, echo("a"))
	s := serve(t, map[string][]string{"api:80": {a.address}}, "edge_proxy api:80 {\n max_held_per_client 3\n}")
	results := make(chan int, 5)
	for range 5 {
		go func() {
			status, _, _ := s.send(t, http.MethodGet, "/", nil)
			results <- status
		}()
	}
	for range 2 {
		if status := <-results; status != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", status)
		}
	}
	eventuallyHeld(t, 3)
	a.start(t)
	for range 3 {
		if status := <-results; status != http.StatusOK {
			t.Errorf("got %d, want 200", status)
		}
	}
}

// TestAPOSTMovesOnIfItsContainerIsRemovedDuringTheDial: it used to get an empty 499.
func TestAPOSTMovesOnIfItsContainerIsRemovedDuringTheDial(t *testing.T) {
	old := listenWithoutAccepting(t, 2) // the connections of the probe's first check
	good := newBackend(t, echo("good")).start(t)
	s := serveReady(t, "edge_proxy api:80", old)
	result := make(chan string)
	go func() {
		defer close(result) // if send fails the test
		_, text, _ := s.send(t, http.MethodPost, "/", []byte("hello"))
		result <- text
	}()
	eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 1 }, "want a request that dials")
	ready := watchState(t, good.address, registry.Ready)
	s.static["api:80"] = []string{good.address}
	s.load(t, "edge_proxy api:80")
	<-ready
	if text := <-result; text != "good POST 5" {
		t.Errorf("got %q, want good POST 5", text)
	}
}

// listenWithoutAccepting returns an address at which the kernel completes n connects, and no further one.
func listenWithoutAccepting(t *testing.T, n int) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, n-1); err != nil { // Linux completes one connect more than the backlog
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
}

// TestRunningOutOfDescriptorsFailsNoEndpoint: requests wait until the edge has descriptors again.
func TestRunningOutOfDescriptorsFailsNoEndpoint(t *testing.T) {
	var requests atomic.Int32
	a := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { requests.Add(1); _, _ = io.WriteString(w, "ok") }).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n probe {\n uri /\n interval 100ms\n fall 1\n }\n}", a.address)
	failing := watchState(t, a.address, registry.Failing)
	conn := s.dial(t)
	writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\n\n") // so that the edge has accepted the client's connection
	if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	release := resourcetest.ExhaustDescriptors(t)
	writeRequest(t, conn, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello") // a POST needs a new connection to the endpoint
	select {
	case <-failing:
		t.Error("the endpoint is failing")
	case <-time.After(time.Second): // longer than several probes and attempts
	}
	if got := edge.Snapshot()[0]; got.Ready != 1 || requests.Load() == 0 {
		t.Errorf("got %d ready endpoints and %d requests, want 1 and at least 1", got.Ready, requests.Load())
	}
	release()
	if resp, body := readResponse(t, conn); resp.StatusCode != http.StatusOK || body != "ok" {
		t.Errorf("got %s %q, want 200 \"ok\"", resp.Status, body)
	}
}

// TestTheStatusPageSaysThatTheEdgeIsExhausted, and not only those pages that were open before: the service is not to blame.
func TestTheStatusPageSaysThatTheEdgeIsExhausted(t *testing.T) {
	b := newBackend(t, echo("ok")).start(t)
	s := serveReady(t, "edge_proxy api:80 {\n hold 200ms\n}", b.address)
	conn := s.dial(t)
	writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\n\n")
	if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	release := resourcetest.ExhaustDescriptors(t)
	writeRequest(t, conn, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello")
	resp, _ := readResponse(t, conn)
	release()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want 503", resp.Status)
	}
	loaded, err := caddy.ActiveContext().App("edge")
	if err != nil {
		t.Fatal(err)
	}
	app := loaded.(*edge.App)
	found := app.Overview().Exhausted
	if len(found) != 1 || found[0].Resource != resource.Descriptors || found[0].Hint == "" || time.Since(found[0].Last) > time.Minute {
		t.Errorf("the overview has %+v", found)
	}
	events := app.Timeline().Since(0)
	if !slices.ContainsFunc(events, func(e timeline.Event) bool { return e.Kind == timeline.Resource && e.Level == timeline.Error }) {
		t.Errorf("the events are %+v", events)
	}
	if lost := edge.Snapshot()[0].Lost.NotSent; lost != 1 {
		t.Errorf("%d requests were not sent, want 1", lost)
	}
	eventually(t, func() bool {
		all := app.ServiceOverviews()
		return len(all) == 1 && all[0].LostPerSecond > 0 && all[0].OwnErrorsPerSecond == all[0].ErrorsPerSecond
	}, "want a request that is lost, by no fault of the application")
}

// TestA503FromATerminatingContainerIsRetried on another endpoint. A drain stands for Docker's stop event: the edge treats both
// alike.
func TestA503FromATerminatingContainerIsRetried(t *testing.T) {
	stopping := make(chan struct{})
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-stopping
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}).start(t)
	s := serveReady(t, "edge_proxy api:80", a.address)
	results := make(chan int, 2)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		go func() {
			status, _, _ := s.send(t, method, "/slow", nil)
			results <- status*10 + len(method)
		}()
	}
	eventually(t, func() bool { return edge.Snapshot()[0].InFlight == 2 }, "want 2 requests in flight")
	drainEndpoint(t, a.address)
	b := newBackend(t, echo("b")).start(t)
	readyB := watchState(t, b.address, registry.Ready)
	s.static["api:80"] = []string{a.address, b.address}
	s.load(t, "edge_proxy api:80")
	<-readyB
	close(stopping)
	got := map[int]bool{<-results: true, <-results: true}
	if !got[200*10+3] || !got[503*10+4] {
		t.Errorf("got %v, want 200 for the GET and the backend's 503 for the POST", got)
	}
}

// drainEndpoint drains an endpoint as an operator does.
func drainEndpoint(t *testing.T, address string) {
	t.Helper()
	postAdmin(t, "/edge/drain", `{"endpoints": ["`+address+`"]}`)
}
