package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	_ "github.com/theworklabs/edge/modules/errorpages"
)

// wireBackend is an endpoint that writes raw bytes: it calls a function for the first request of each connection.
type wireBackend struct {
	address  string
	requests atomic.Int32 // requests whose head has arrived
}

func newWireBackend(t testing.TB, handle func(conn net.Conn, r *http.Request, body *bufio.Reader)) *wireBackend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	b := &wireBackend{address: ln.Addr().String()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				r, err := http.ReadRequest(reader)
				if err != nil {
					return // a probe
				}
				b.requests.Add(1)
				handle(conn, r, reader)
			}()
		}
	}()
	return b
}

// newAbortingBackend returns a backend that reads the head of a request and closes the connection without a response.
func newAbortingBackend(t testing.TB) *wireBackend {
	t.Helper()
	return newWireBackend(t, func(net.Conn, *http.Request, *bufio.Reader) {})
}

// serveSite runs a site with api:80 at the backend, and waits until the backend is ready.
func (b *wireBackend) serveSite(t testing.TB, s *site, directives string) *site {
	t.Helper()
	ready := watchState(t, b.address, registry.Ready)
	s.static = map[string][]string{"api:80": {b.address}}
	s.start(t, directives)
	<-ready
	return s
}

// dial opens a connection to the site.
func (s *site) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// writeRequest sends text on a connection, with CRLF for \n.
func writeRequest(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
}

// readResponse reads a response and its body from a connection.
func readResponse(t testing.TB, conn net.Conn) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return resp, string(body)
}

// newCannedBackend returns a backend that reads each request to its end and responds with text, with CRLF for \n.
func newCannedBackend(t testing.TB, text string) *wireBackend {
	t.Helper()
	return newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	})
}

func TestTheRejectionOfAnUploadArrives(t *testing.T) {
	b := newWireBackend(t, func(conn net.Conn, _ *http.Request, _ *bufio.Reader) {
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("x", 20000))
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	for i := range 20 {
		conn := s.dial(t)
		go func() { // the client sends while it waits for the response
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
			_, _ = conn.Write(make([]byte, 5_000_000))
		}()
		if resp, body := readResponse(t, conn); resp.StatusCode != http.StatusRequestEntityTooLarge || len(body) != 20000 {
			t.Fatalf("upload %d: got %s with %d bytes, want 413 with 20000", i, resp.Status, len(body))
		}
		conn.Close()
	}
}

func TestARejectionReachesAClientThatIsStillSending(t *testing.T) {
	b := newCannedBackend(t, "HTTP/1.1 200 OK\nContent-Length: 0\n\n")
	s := b.serveSite(t, new(site), "sanitize_request\nrespond /full 404\nedge_proxy api:80")
	for name, head := range map[string]string{
		"edge's response": "POST /full HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n",
		"malformed chunk": "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a=b;", 5000) + "\r\nhello\r\nzz\r\n",
	} {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Write(make([]byte, 3_000_000)); err != nil {
			t.Fatalf("%s: the connection was reset while the client was sending: %v", name, err)
		}
		if resp, _ := readResponse(t, conn); resp.StatusCode < 400 {
			t.Errorf("%s: got %s, want an error status", name, resp.Status)
		}
	}
}

func TestAnEarlyResponseDoesNotWaitForTheBody(t *testing.T) {
	unread := func(text string) *wireBackend {
		return newWireBackend(t, func(conn net.Conn, _ *http.Request, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
		})
	}
	b := unread("HTTP/1.1 401 U\nContent-Length: 6\nConnection: close\n\nnoauth")
	// With only HTTP/1.1, Caddy wraps the listener's connections in a type of its own.
	for _, protocols := range []string{"h1 h2 h3", "h1"} {
		t.Run(protocols, func(t *testing.T) { wantEarlyResponses(t, b, protocols) })
	}
}

func wantEarlyResponses(t *testing.T, b *wireBackend, protocols string) {
	s := b.serveSite(t, &site{globalOptions: "servers {\n protocols " + protocols + "\n timeouts {\n read_body_idle 30s\n }\n}"}, "sanitize_request\nredir /moved /there 308\nerror /none 404\nerror /full 413\nerror /down 503\nhandle_errors {\n error_pages\n}\nedge_proxy /api api:80")
	for path, want := range map[string]int{"/api": 401, "/moved": 308, "/none": 404, "/full": 413, "/down": 503} {
		for _, expect := range []string{"Expect: 100-continue\n", ""} {
			conn := s.dial(t)
			startedAt := time.Now()
			writeRequest(t, conn, "POST "+path+" HTTP/1.1\nHost: a\n"+expect+"Content-Length: 3000000\n\n")
			resp, _ := readResponse(t, conn)
			if resp.StatusCode != want {
				t.Errorf("%s, %q: got %s, want %d", path, expect, resp.Status, want)
			}
			if took := time.Since(startedAt); took > time.Second {
				t.Errorf("%s, %q: the response took %s", path, expect, took)
			}
			if !resp.Close {
				t.Errorf("%s, %q: the connection stays open with an unread body", path, expect)
			}
			conn.Close()
		}
	}
}

func TestABackendThatIgnoresExpectAddsLittleDelay(t *testing.T) {
	b := newCannedBackend(t, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok") // it reads the body without sending 100
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	conn := s.dial(t)
	startedAt := time.Now()
	writeRequest(t, conn, "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 5\n\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("got %v, %v; want 100", resp, err)
	}
	writeRequest(t, conn, "hello")
	if resp, err = http.ReadResponse(reader, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v; want 200", resp, err)
	}
	if took := time.Since(startedAt); took > 500*time.Millisecond {
		t.Errorf("the response took %s, want less than 500ms", took)
	}
}

func TestRequestBodiesAreStreamed(t *testing.T) {
	for _, method := range []string{"PUT", "GET", "DELETE", "POST"} {
		arrived := make(chan string, 10)
		b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
			for buf := make([]byte, 100); ; {
				n, err := r.Body.Read(buf)
				if n > 0 {
					arrived <- string(buf[:n])
				}
				if err != nil {
					break
				}
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		})
		s := b.serveSite(t, new(site), "edge_proxy api:80")
		conn := s.dial(t)
		extra := ""
		if method == "POST" {
			extra = "Incremental: ?1\n"
		}
		writeRequest(t, conn, method+" / HTTP/1.1\nHost: a\n"+extra+"Transfer-Encoding: chunked\n\n")
		for i := range 3 {
			writeRequest(t, conn, fmt.Sprintf("a\n0123456%03d\n", i))
			select {
			case <-arrived: // only then does the client continue
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: part %d did not arrive before the next one was sent", method, i)
			}
		}
		writeRequest(t, conn, "0\n\n")
		if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s, want 200", method, resp.Status)
		}
	}
}

// TestARetrySendsTheBodyFromItsStart after the first connection was closed in the middle of the body.
func TestARetrySendsTheBodyFromItsStart(t *testing.T) {
	arrived := make(chan struct{}, 1)
	var b *wireBackend
	b = newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		if b.requests.Load() == 1 {
			_, _ = io.ReadFull(r.Body, make([]byte, 4))
			arrived <- struct{}{}
			return
		}
		text, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	conn := s.dial(t)
	writeRequest(t, conn, "PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n4\nfour\n")
	<-arrived
	writeRequest(t, conn, "4\nmore\n0\n\n")
	if resp, body := readResponse(t, conn); resp.StatusCode != http.StatusOK || body != "fourmore" {
		t.Errorf("got %s %q, want 200 \"fourmore\"", resp.Status, body)
	}
}

func TestAMalformedResponseIsNotRetried(t *testing.T) {
	bad := newCannedBackend(t, "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\nhello!")
	good := newBackend(t, echo("good")).start(t)
	s := serveReady(t, "edge_proxy api:80", bad.address, good.address)
	failed := int32(0)
	for range 40 {
		if status, _, _ := s.send(t, http.MethodGet, "/", nil); status == http.StatusBadGateway {
			failed++
		}
	}
	if sent := bad.requests.Load(); failed == 0 || sent != failed {
		t.Errorf("the bad endpoint got %d requests, %d got 502; want each sent once and answered with 502", sent, failed)
	}
	wantNoEjectionOrRetry(t) // the requests of one client alone do not eject an endpoint
}

func TestARequestThatCrashesContainersReachesOnlyTwo(t *testing.T) {
	var addresses []string
	var ready []<-chan struct{}
	var crashes atomic.Int32
	for range 5 {
		var b *backend
		b = newBackend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/poison" {
				crashes.Add(1)
				go b.stop()
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, "ok")
		}).start(t)
		addresses = append(addresses, b.address)
		ready = append(ready, watchState(t, b.address, registry.Ready))
	}
	s := serve(t, map[string][]string{"api:80": addresses}, "handle_errors {\n error_pages\n}\nedge_proxy api:80")
	for _, isReady := range ready {
		<-isReady
	}
	req, err := http.NewRequest(http.MethodGet, s.url+"/poison", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || crashes.Load() != 2 {
		t.Errorf("%s after %d containers, want 502 after 2", resp.Status, crashes.Load())
	}
	if resp.Header.Get("Refresh") != "" || bytes.Contains(body, []byte("tries again by itself")) {
		t.Error("the error page reloads itself")
	}
	for range 10 {
		if status, text, _ := s.send(t, http.MethodGet, "/", nil); status != http.StatusOK {
			t.Errorf("another request: got %d %s, want 200", status, text)
		}
	}
}

func TestNoContentTypeIsInvented(t *testing.T) {
	b := newCannedBackend(t, "HTTP/1.1 200 OK\nContent-Length: 600\n\n<html>"+strings.Repeat("x", 594))
	for _, directives := range []string{
		"edge_proxy api:80",
		"sanitize_request\nencode\nedge_proxy api:80",
		"sanitize_request\nencode {\n match {\n header Content-Type text/html*\n }\n}\nedge_proxy api:80",
	} {
		s := b.serveSite(t, new(site), directives)
		req, err := http.NewRequest(http.MethodPut, s.url, strings.NewReader("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if kind, ok := resp.Header["Content-Type"]; ok {
			t.Errorf("%q: the response has the content type %q, want none", directives, kind)
		}
		stopCaddy(t)
	}
}
