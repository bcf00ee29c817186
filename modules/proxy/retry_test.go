package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

// warmUpConns makes a site open the given number of connections to its endpoints, and keep them idle.
func warmUpConns(t *testing.T, s *site, requests int, arrivals *sync.WaitGroup, release chan struct{}) {
	t.Helper()
	var done sync.WaitGroup
	arrivals.Add(requests)
	for range requests {
		done.Go(func() { s.send(t, http.MethodGet, "/warm", nil) })
	}
	arrivals.Wait()
	close(release)
	done.Wait()
}

// TestARequestIsTriedOnOnlyOneReusedConnection: net/http by itself would try one after the other, and then dial.
func TestARequestIsTriedOnOnlyOneReusedConnection(t *testing.T) {
	for _, containers := range []int{1, 5} {
		var executed atomic.Int32
		var arrivals sync.WaitGroup
		release := make(chan struct{})
		var addresses []string
		var ready []<-chan struct{}
		for range containers {
			var b *backend
			b = newBackend(t, func(_ http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/warm":
					arrivals.Done()
					<-release
				case "/poison":
					executed.Add(1)
					if containers > 1 {
						go b.stop() // the container ends; the only container of a service stays, as if one of its workers had crashed
					}
					panic(http.ErrAbortHandler)
				}
			}).start(t)
			addresses, ready = append(addresses, b.address), append(ready, watchState(t, b.address, registry.Ready))
		}
		s := serve(t, map[string][]string{"api:80": addresses}, "edge_proxy api:80 {\n hold 2s\n slow_start off\n}")
		for _, isReady := range ready {
			<-isReady
		}
		warmUpConns(t, s, 20*containers, &arrivals, release)
		status, _, _ := s.send(t, http.MethodGet, "/poison", nil)
		if n := executed.Load(); n != 2 || status != http.StatusBadGateway {
			t.Errorf("%d containers: executed %d times, status %d; want 2 and 502", containers, n, status)
		}
		stopCaddy(t)
	}
}

// TestOneEndOfAProcessCountsOnce: a process that ends resets its connections before it closes its listener, so that a retry on the
// same endpoint is reset too. That is one crash, and the request goes to the container that comes next.
func TestOneEndOfAProcessCountsOnce(t *testing.T) {
	var executed atomic.Int32
	s := serveRestarting(t, func(restart func()) bool {
		switch executed.Add(1) {
		case 1:
			return false
		case 2:
			restart()
			return false
		}
		return true
	})
	if status, text, _ := s.send(t, http.MethodGet, "/", nil); status != http.StatusOK || executed.Load() != 3 {
		t.Errorf("got %d %s after %d attempts, want 200 after 3", status, text, executed.Load())
	}
}

// TestRequestThatCrashesAContainerTwiceFails: the container keeps its address when it restarts.
func TestRequestThatCrashesAContainerTwiceFails(t *testing.T) {
	var executed atomic.Int32
	s := serveRestarting(t, func(restart func()) bool {
		executed.Add(1)
		restart()
		return false
	})
	if status, text, _ := s.send(t, http.MethodGet, "/", nil); status != http.StatusBadGateway || executed.Load() != 2 {
		t.Errorf("got %d %s after %d attempts, want 502 after 2", status, text, executed.Load())
	}
}

// serveRestarting serves a service with one endpoint. answer is called for each request: it returns whether the endpoint responds, or
// closes the connection. It may call restart, which ends the endpoint and starts it again after 200 ms.
func serveRestarting(t *testing.T, answer func(restart func()) bool) *site {
	t.Helper()
	var b *backend
	var restarts sync.WaitGroup
	t.Cleanup(restarts.Wait)
	b = newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		restart := func() {
			restarts.Go(func() { // before stop, whose lock orders it before the end of the test
				time.Sleep(200 * time.Millisecond)
				b.start(t)
			})
			b.stop()
		}
		if !answer(restart) {
			panic(http.ErrAbortHandler)
		}
	}).start(t)
	ready := watchState(t, b.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {b.address}}, "edge_proxy api:80")
	<-ready
	return s
}

// TestIdleConnectionsClosedByTheBackendCostNoRetry: a request on a connection that is being closed is sent again, and does not
// use the retry budget.
func TestIdleConnectionsClosedByTheBackendCostNoRetry(t *testing.T) {
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, rest *bufio.Reader) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = rest.ReadByte() // and closes the connection when the next request arrives
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	var clients sync.WaitGroup
	for range 20 { // concurrent, so that some connections become idle while others are dialed
		clients.Go(func() {
			for i := range 40 {
				method, body := http.MethodGet, []byte(nil)
				switch i % 4 {
				case 1:
					method, body = http.MethodPut, make([]byte, 1000)
				case 2:
					method, body = http.MethodPut, make([]byte, 200_000)
				}
				if status, text, _ := s.send(t, method, "/", body); status != http.StatusOK {
					t.Errorf("%s with %d bytes: %d %s", method, len(body), status, text)
				}
			}
		})
	}
	clients.Wait()
	if status := edge.Snapshot()[0]; status.Retries != 0 || status.Ready != 1 {
		t.Errorf("got %d retries and %d ready endpoints, want 0 and 1", status.Retries, status.Ready)
	}
}

// TestABodyNeverArrivesWithMissingBytes: a stopping container responds with 503 during an upload, while the edge still sends it
// bytes of the body.
func TestABodyNeverArrivesWithMissingBytes(t *testing.T) {
	release := make(chan struct{})
	first := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		_, _ = io.ReadFull(r.Body, make([]byte, 60_000))
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Stopping\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	})
	defer close(release)
	got := make(chan string, 1)
	second := newBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil {
			got <- fmt.Sprint(bytes.Count(text, []byte("a")), bytes.Count(text, []byte("b")), bytes.Count(text, []byte("c")))
		}
	})
	s := first.serveSite(t, new(site), "edge_proxy api:80")
	conn := s.dial(t)
	writeRequest(t, conn, "PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n")
	chunk := func(letter string, n int) {
		writeRequest(t, conn, fmt.Sprintf("%x\n%s\n", n, strings.Repeat(letter, n)))
	}
	chunk("a", 40_000)
	eventually(t, func() bool { return first.requests.Load() > 0 }, "the first container gets no request")
	drainEndpoint(t, first.address)
	second.start(t)
	ready := watchState(t, second.address, registry.Ready)
	s.static["api:80"] = []string{first.address, second.address}
	s.load(t, "edge_proxy api:80")
	<-ready
	chunk("a", 20_000)
	chunk("b", 10_000)
	chunk("c", 5_000)
	writeRequest(t, conn, "0\n\n")
	resp, _ := readResponse(t, conn)
	select {
	case counts := <-got:
		if counts != "60000 10000 5000" {
			t.Errorf("the second container got %s bytes of a, b and c, want 60000 10000 5000", counts)
		}
	default:
		if resp.StatusCode == http.StatusOK {
			t.Error("got 200, but the second container got no body")
		}
	}
}

// TestAnInvalidRequestEjectsNobody: the configuration makes an invalid header of the client's path.
func TestAnInvalidRequestEjectsNobody(t *testing.T) {
	s := serveTwoBackends(t, echo("ok"), "edge_proxy api:80 {\n header_up X-Path {path}\n eject 1\n}")
	for _, method := range []string{"GET", "POST"} {
		if status := s.sendRaw(t, method+" /a%0ab HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"); status != http.StatusInternalServerError {
			t.Errorf("%s: got %d, want 500", method, status)
		}
	}
	wantNoEjectionOrRetry(t)
	if lost := edge.Snapshot()[0].Lost; lost.Unknown != 0 {
		t.Errorf("got %d requests of unknown outcome, want 0", lost.Unknown)
	}
}

// TestAnUnreadBodyIsNotParsedAsARequest on a site whose handlers do not read the body, which is malformed.
func TestAnUnreadBodyIsNotParsedAsARequest(t *testing.T) {
	var smuggled atomic.Int32
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		smuggled.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	s := b.serveSite(t, new(site), "sanitize_request\nhandle /api/* {\n edge_proxy api:80\n}")
	for _, body := range []string{"ZZ\nGET /api/smuggled HTTP/1.1\nHost: a\n\n", "5\nhello\nZZ\nGET /api/smuggled HTTP/1.1\nHost: a\n\n"} {
		conn := s.dial(t)
		writeRequest(t, conn, "POST /none HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n"+body)
		if resp, _ := readResponse(t, conn); !resp.Close {
			t.Errorf("%q: the connection stays open", body)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
	if n := smuggled.Load(); n != 0 {
		t.Errorf("%d requests were smuggled to the backend, want 0", n)
	}
}

// TestErrorRoutesCannotEnableRequestSmuggling by removing the header that closes the connection.
func TestErrorRoutesCannotEnableRequestSmuggling(t *testing.T) {
	var smuggled atomic.Int32
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		smuggled.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for _, line := range []string{"header -Connection", "header Connection keep-alive"} {
		s := b.serveSite(t, new(site), "sanitize_request\nerror /x 404\nedge_proxy api:80\nhandle_errors {\n "+line+"\n respond error\n}")
		conn := s.dial(t)
		writeRequest(t, conn, "POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\nZZ\nGET /smuggled HTTP/1.1\nHost: a\n\n")
		_, _ = io.ReadAll(conn)
		stopCaddy(t)
	}
	if n := smuggled.Load(); n != 0 {
		t.Errorf("%d requests were smuggled to the backend, want 0", n)
	}
}

func TestBodylessRequestsKeepTheirFraming(t *testing.T) {
	got := make(chan string, 1)
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		got <- fmt.Sprint(r.Header.Get("Content-Length"), r.ContentLength, r.TransferEncoding)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	for method, want := range map[string]string{
		"GET": "0 []", "HEAD": "0 []", "OPTIONS": "0 []", "DELETE": "0 []", "PUT": "00 []", "POST": "00 []",
	} {
		for _, extra := range []string{"", "Content-Length: 0\n", "Idempotency-Key: a\n"} {
			conn := s.dial(t)
			writeRequest(t, conn, method+" / HTTP/1.1\nHost: a\n"+extra+"\n")
			if seen := <-got; seen != want {
				t.Errorf("%s, %q: the backend got %s, want %s", method, extra, seen, want)
			}
			conn.Close()
		}
	}
}

func TestAnErrorPageFromAServiceHasNoBlankContentType(t *testing.T) {
	page := newCannedBackend(t, "HTTP/1.1 200 OK\nContent-Length: 4\n\npage")
	ready := watchState(t, page.address, registry.Ready)
	s := serve(t, map[string][]string{"api:80": {"127.0.0.1:1"}, "page:80": {page.address}},
		"sanitize_request\nedge_proxy api:80 {\n hold 100ms\n}\nhandle_errors {\n edge_proxy page:80\n}")
	<-ready
	_, text, header := s.send(t, http.MethodPost, "/", []byte("hello"))
	if kind, ok := header["Content-Type"]; text != "page" || ok {
		t.Errorf("got %q with the content type %q, want the page without one", text, kind)
	}
}
