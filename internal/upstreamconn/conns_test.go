package upstreamconn_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
			if name != "User-Agent" && name != "Content-Length" && name != "X-Kept" {
				fmt.Fprintf(w, " %s", name)
			}
		}
	})
	l := b.open(t)
	for _, c := range []struct{ url, host, want string }{
		{"http://bigcapital-server:3000/api?a=1", "accounting.example", "GET accounting.example /api?a=1"},
		{"https://elsewhere.invalid/", "accounting.example", "GET accounting.example /"},
		{"http://127.0.0.1:1/a%2Fb//c", "localhost:8443", "GET localhost:8443 /a%2Fb//c"},
	} {
		req := newRequest(t, http.MethodGet, "", false)
		u, err := req.URL.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		req.URL, req.Host = u, c.host
		req.Header.Set("X-Kept", "yes")
		if got := exchange(t, l, req); got != c.want {
			t.Errorf("%s of %s: the backend saw %q, want %q", c.url, c.host, got, c.want)
		}
		if req.URL.String() != c.url || req.Host != c.host {
			t.Errorf("the caller's request became %s of %s", req.URL, req.Host)
		}
	}
}

func TestReplayableRequestsReuseAConnection(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	l := b.open(t)
	for range 3 {
		exchange(t, l, newRequest(t, http.MethodGet, "", false))
		exchange(t, l, newRequest(t, http.MethodPut, "twice", false))
		exchange(t, l, newRequest(t, http.MethodDelete, "", false))
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("9 requests took %d connections, want 1", n)
	}
}

// TestAPOSTNeverReusesAConnection: which the backend may close at that instant, so that nobody would know whether it
// was carried out. Neither does a request that was cut off once.
func TestAPOSTNeverReusesAConnection(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	l := b.open(t)
	exchange(t, l, newRequest(t, http.MethodGet, "", false)) // leaves one behind
	exchange(t, l, newRequest(t, http.MethodPost, "twice", false))
	exchange(t, l, newRequest(t, http.MethodPatch, "", false))
	again := newRequest(t, http.MethodGet, "", false)
	exchange(t, l, again.WithContext(upstreamconn.WithNewConn(again.Context())))
	if n := b.opened.Load(); n != 4 {
		t.Errorf("4 requests took %d connections, want 4", n)
	}
}

func TestANonReplayableBodyGetsItsOwnConnection(t *testing.T) {
	closes := make(chan bool, 100)
	b := newBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		closes <- r.Close
	})
	l := b.open(t)
	exchange(t, l, newRequest(t, http.MethodGet, "", false)) // leaves one behind that must not be taken
	<-closes
	for i := range int32(3) {
		exchange(t, l, newRequest(t, http.MethodPost, "once", true))
		if <-closes { // Node would then close it under a body that it refuses, and its answer be lost
			t.Error("the backend was asked to close the connection")
		}
		b.eventuallyClosed(t, i+1)
	}
	if n := b.opened.Load(); n != 4 {
		t.Errorf("4 requests took %d connections, want 4", n)
	}
	exchange(t, l, newRequest(t, http.MethodGet, "", false))
	if n := b.opened.Load(); n != 4 {
		t.Error("the kept connection was not kept")
	}
}

func TestAnIdleConnectionIsClosedAfterThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan time.Time, 10)
		dials := 0
		l := upstreamconn.Open("172.18.0.7:3000").(*upstreamconn.Conns)
		l.DialWith(func() net.Conn {
			dials++
			near, far := net.Pipe()
			go serveConn(far, ends)
			return near
		})
		use := func() {
			resp, err := l.Send(newRequest(t, http.MethodGet, "", false))
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		use()
		time.Sleep(2999 * time.Millisecond)
		use()
		if dials != 1 {
			t.Errorf("%d connections before 3 s, want the one that was kept", dials)
		}
		since := time.Now()
		if idle := (<-ends).Sub(since); idle != 3*time.Second {
			t.Errorf("the connection was kept for %s, want 3s", idle)
		}
		use()
		if dials != 2 {
			t.Errorf("%d connections, want a second one after the first went", dials)
		}
		since = time.Now()
		l.Close()
		if idle := (<-ends).Sub(since); idle != 0 {
			t.Errorf("a closed link kept the connection for %s", idle)
		}
	})
}

// serveConn answers requests on one connection, and tells when it ends.
func serveConn(conn net.Conn, ends chan<- time.Time) {
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			ends <- time.Now()
			conn.Close()
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n") // an error shows at the next read
	}
}

func TestCloseLetsRequestsInFlightFinish(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprintf("once=%v", once), func(t *testing.T) {
			p := newPausingHandler(t)
			b := newBackend(t, p.ServeHTTP)
			l := b.open(t)
			resp, err := l.Send(newRequest(t, http.MethodPost, "body", once))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			<-p.started
			l.Close()
			l.Close() // more than once is allowed
			p.finish()
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "first second" {
				t.Errorf("the request under way got %q %v", body, err)
			}
			resp.Body.Close()
			b.eventuallyClosed(t, 1)
			eventuallyNoGoroutines(t)
		})
	}
}

func TestCloseEndsIdleConnections(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	l := b.open(t)
	exchange(t, l, newRequest(t, http.MethodGet, "", false))
	l.Close()
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
	l := b.open(t)

	var bodies []io.ReadCloser
	for _, kind := range requestKinds {
		resp, err := l.Send(newRequest(t, kind.method, kind.body, kind.once))
		if err != nil {
			t.Fatal(err)
		}
		<-p.started
		bodies = append(bodies, resp.Body)
	}
	req := newRequest(t, http.MethodGet, "", false)
	req.URL.Path = "/upgrade"
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := l.Send(req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("no upgrade: %v %v", resp, err)
	}
	bodies = append(bodies, resp.Body)
	waiting := make(chan error, 1)
	go func() {
		req := newRequest(t, http.MethodPost, "body", true)
		req.URL.Path = "/silent"
		_, err := l.Send(req)
		waiting <- err
	}()
	<-silent

	l.Abort()
	for i, body := range bodies {
		if _, err := io.ReadAll(body); err == nil {
			t.Errorf("request %d ended as if it were whole", i)
		}
		body.Close()
	}
	err = <-waiting
	if _, ok := errors.AsType[*upstreamconn.DialError](err); err == nil || ok {
		t.Errorf("a request that was sent and cut got %v; want an error, but not that nothing was sent", err)
	}
	if n := l.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	b.eventuallyClosed(t, 5)
	eventuallyNoGoroutines(t)
}

func TestConnsDialAgainAfterAbort(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	l := b.open(t)
	exchange(t, l, newRequest(t, http.MethodGet, "", false))
	l.Abort()
	b.eventuallyClosed(t, 1)
	if got := exchange(t, l, newRequest(t, http.MethodGet, "", false)); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestAbortAndCloseWhileRequestsAreSent(t *testing.T) {
	b := newBackend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	l := b.open(t)
	var senders, breakers sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	whole := 0
	for i := range 6 {
		kind := requestKinds[i%len(requestKinds)]
		senders.Go(func() {
			for range 60 {
				resp, err := l.Send(newRequest(t, kind.method, kind.body, kind.once))
				if err != nil {
					continue // it was cut
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil && string(body) != "ok" {
					t.Errorf("an answer that was cut passes as whole: %q", body)
				}
				if err == nil {
					mu.Lock()
					whole++
					mu.Unlock()
				}
			}
		})
	}
	for _, act := range []func(){l.Abort, l.Close} {
		breakers.Go(func() {
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
	breakers.Wait()
	t.Logf("%d of 360 requests were not cut, over %d connections", whole, b.opened.Load())
	l.Close()
	b.eventuallyClosed(t, b.opened.Load())
	if n := l.Connections(); n != 0 {
		t.Errorf("%d connections are still counted", n)
	}
	eventuallyNoGoroutines(t)
}
