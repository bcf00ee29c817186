package upstreamconn_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

func TestRequestsGoToTheEndpointWhateverTheURLsHost(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.RequestURI)
		for name := range r.Header {
			if name != "User-Agent" && name != "Content-Length" && name != "X-Forwarded-Test" {
				fmt.Fprintf(w, " %s", name)
			}
		}
	})
	c := b.open(t)
	for _, test := range []struct{ url, host, want string }{
		{"http://bigcapital-server:3000/api?a=1", "accounting.example", "GET accounting.example /api?a=1"},
		{"https://elsewhere.invalid/", "accounting.example", "GET accounting.example /"},
		{"http://127.0.0.1:1/a%2Fb//c", "localhost:8443", "GET localhost:8443 /a%2Fb//c"},
	} {
		req, err := http.NewRequest(http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = test.host
		req.Header.Set("X-Forwarded-Test", "yes")
		if got := exchange(t, c, &upstreamconn.Attempt{Request: req, Context: t.Context()}); got != test.want {
			t.Errorf("%s with the host %s: the backend got %q, want %q", test.url, test.host, got, test.want)
		}
		if req.URL.String() != test.url || req.Host != test.host {
			t.Errorf("Send changed the caller's request to %s with the host %s", req.URL, req.Host)
		}
	}
}

func TestReplayableRequestsReuseAConnection(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	c := b.open(t)
	for range 3 {
		exchange(t, c, newAttempt(t, http.MethodGet, "", false))
		exchange(t, c, newAttempt(t, http.MethodPut, "twice", false))
		exchange(t, c, newAttempt(t, http.MethodDelete, "", false))
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("9 requests took %d connections, want 1", n)
	}
}

// TestAPOSTNeverReusesAConnection: the backend may close an idle connection at the same instant, and the outcome of the POST
// would be unknown. A retry (WithNewConn) does not reuse a connection either.
func TestAPOSTNeverReusesAConnection(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	c := b.open(t)
	exchange(t, c, newAttempt(t, http.MethodGet, "", false)) // leaves an idle connection
	exchange(t, c, newAttempt(t, http.MethodPost, "twice", false))
	exchange(t, c, newAttempt(t, http.MethodPatch, "", false))
	again := newAttempt(t, http.MethodGet, "", false)
	again.NewConn = true
	exchange(t, c, again)
	if n := b.opened.Load(); n != 4 {
		t.Errorf("4 requests took %d connections, want 4", n)
	}
}

func TestANonReplayableBodyGetsANewConnection(t *testing.T) {
	closes := make(chan bool, 100)
	b := newBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		closes <- r.Close
	})
	c := b.open(t)
	exchange(t, c, newAttempt(t, http.MethodGet, "", false)) // leaves an idle connection that must not be reused
	<-closes
	const posts = 20
	for range posts {
		exchange(t, c, newAttempt(t, http.MethodPost, "body", true))
		if <-closes { // Node would close it while it rejects a body, and the response would be lost
			t.Error("the backend was asked to close the connection")
		}
	}
	if n := b.opened.Load(); n != 1+posts {
		t.Errorf("%d requests took %d connections", 1+posts, n)
	}
	// Some stay for requests that can be sent again.
	b.eventuallyClosed(t, 1+posts-16)
	for range 3 {
		exchange(t, c, newAttempt(t, http.MethodGet, "", false))
	}
	if n := b.opened.Load(); n != 1+posts {
		t.Error("no idle connection was reused")
	}
	if n := c.Connections(); n != 16 {
		t.Errorf("%d connections are open, want 16", n)
	}
}

// TestAnIdleConnectionThatIsOffIsNotUsed: the endpoint has closed it, or sent something that nobody has asked for.
func TestAnIdleConnectionThatIsOffIsNotUsed(t *testing.T) {
	for name, after := range map[string]string{"closed": "", "unasked": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		isOff := make(chan bool)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				<-isOff
				if after != "" {
					_, _ = io.WriteString(conn, after)
					defer conn.Close()
				} else {
					_ = conn.Close()
				}
				isOff <- true
			}
		}()
		c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
		for i := range 3 {
			if got := exchange(t, c, newAttempt(t, http.MethodGet, "", false)); got != "ok" {
				t.Errorf("%s: request %d got %q", name, i, got)
			}
			isOff <- true
			<-isOff
		}
		if n := c.Connections(); n != 1 {
			t.Errorf("%s: %d connections are open, want the last one", name, n)
		}
		c.Close()
	}
	eventuallyNoGoroutines(t)
}

func TestAnIdleConnectionIsClosedAfterThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan time.Time, 10)
		dials := 0
		c := upstreamconn.Open("172.18.0.7:3000").(*upstreamconn.Conns)
		c.DialWith(func() net.Conn {
			dials++
			near, far := net.Pipe()
			go serveConn(far, ends)
			return near
		})
		send := func() {
			resp, err := c.Send(newAttempt(t, http.MethodGet, "", false))
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send()
		time.Sleep(2999 * time.Millisecond)
		send()
		if dials != 1 {
			t.Errorf("%d connections within 3 s, want 1 that is reused", dials)
		}
		since := time.Now()
		if idle := (<-ends).Sub(since); idle != 3*time.Second {
			t.Errorf("the idle connection was closed after %s, want 3s", idle)
		}
		send()
		if dials != 2 {
			t.Errorf("%d connections, want a second one after the first was closed", dials)
		}
		since = time.Now()
		c.Close()
		if idle := (<-ends).Sub(since); idle != 0 {
			t.Errorf("Close left the idle connection open for %s", idle)
		}
	})
}

// serveConn responds to the requests on one connection, and sends the time at which the connection ends.
func serveConn(conn net.Conn, ends chan<- time.Time) {
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			ends <- time.Now()
			conn.Close()
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n") // the next read returns an error, if any
	}
}

func TestCloseLetsRequestsInFlightFinish(t *testing.T) {
	for _, isSingleUse := range []bool{false, true} {
		t.Run(fmt.Sprintf("single-use=%v", isSingleUse), func(t *testing.T) {
			p := newPausingHandler(t)
			b := newBackend(t, p.ServeHTTP)
			c := b.open(t)
			resp, err := c.Send(newAttempt(t, http.MethodPost, "body", isSingleUse))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			<-p.started
			c.Close()
			c.Close() // a second call is allowed
			p.finish()
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "first second" {
				t.Errorf("the request in flight got %q %v", body, err)
			}
			resp.Body.Close()
			b.eventuallyClosed(t, 1)
			eventuallyNoGoroutines(t)
		})
	}
}

func TestCloseEndsIdleConnections(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	c := b.open(t)
	exchange(t, c, newAttempt(t, http.MethodGet, "", false))
	c.Close()
	b.eventuallyClosed(t, 1)
	eventuallyNoGoroutines(t)
}

func TestAbortBreaksRequestsInFlight(t *testing.T) {
	p := newPausingHandler(t)
	silent := make(chan struct{}, 10)
	b := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			silent <- struct{}{}
			<-r.Context().Done()
		case "/upgrade":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(conn, conn)
			conn.Close()
		default:
			p.ServeHTTP(w, r)
		}
	})
	c := b.open(t)

	var bodies []io.ReadCloser
	for _, kind := range requestKinds {
		resp, err := c.Send(newAttempt(t, kind.method, kind.body, kind.isSingleUse))
		if err != nil {
			t.Fatal(err)
		}
		<-p.started
		bodies = append(bodies, resp.Body)
	}
	req := newAttempt(t, http.MethodGet, "", false)
	req.Request.URL.Path = "/upgrade"
	req.Request.Header.Set("Connection", "Upgrade")
	req.Request.Header.Set("Upgrade", "websocket")
	resp, err := c.Send(req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v %v, want 101", resp, err)
	}
	bodies = append(bodies, resp.Body)
	unanswered := make(chan error, 1)
	go func() {
		req := newAttempt(t, http.MethodPost, "body", true)
		req.Request.URL.Path = "/silent"
		_, err := c.Send(req)
		unanswered <- err
	}()
	<-silent

	c.Abort()
	const cause = "can no longer be reached"
	for i, body := range bodies {
		_, err := io.ReadAll(body)
		if _, isTunnel := body.(*upstreamconn.UpgradedConn); err == nil || !isTunnel && !strings.Contains(err.Error(), cause) {
			t.Errorf("the body of request %d ended with %v, want %q", i, err, cause)
		}
		body.Close()
	}
	err = <-unanswered
	if _, ok := errors.AsType[*upstreamconn.DialError](err); err == nil || ok || !strings.Contains(err.Error(), cause) {
		t.Errorf("a request that was sent and aborted got %v; want %q, and no DialError", err, cause)
	}
	if n := c.Connections(); n != 0 {
		t.Errorf("%d connections are still open", n)
	}
	b.eventuallyClosed(t, 5)
	eventuallyNoGoroutines(t)
}

func TestConnsDialAgainAfterAbort(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	c := b.open(t)
	exchange(t, c, newAttempt(t, http.MethodGet, "", false))
	c.Abort()
	b.eventuallyClosed(t, 1)
	if got := exchange(t, c, newAttempt(t, http.MethodGet, "", false)); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestAbortAndCloseWhileRequestsAreSent(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	c := b.open(t)
	var senders, aborters sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	complete := 0
	for i := range 6 {
		kind := requestKinds[i%len(requestKinds)]
		senders.Go(func() {
			for range 60 {
				resp, err := c.Send(newAttempt(t, kind.method, kind.body, kind.isSingleUse))
				if err != nil {
					continue // it was aborted
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil && string(body) != "ok" {
					t.Errorf("an aborted response ended without an error: %q", body)
				}
				if err == nil {
					mu.Lock()
					complete++
					mu.Unlock()
				}
			}
		})
	}
	for _, act := range []func(){c.Abort, c.Close} {
		aborters.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Microsecond):
					act()
				}
			}
		})
	}
	senders.Wait()
	close(stop)
	aborters.Wait()
	t.Logf("%d of 360 requests were complete, over %d connections", complete, b.opened.Load())
	c.Close()
	b.eventuallyClosed(t, b.opened.Load())
	if n := c.Connections(); n != 0 {
		t.Errorf("%d connections are still open", n)
	}
	eventuallyNoGoroutines(t)
}
