package upstreamconn_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// crossingBackend responds to the first request on each connection. What it does with the connection then, it does at the instant at which the edge
// sends the second one.
type crossingBackend struct {
	address string
	end     func(*net.TCPConn)
	conns   chan *net.TCPConn
	read    atomic.Int32 // requests that it has read
	done    chan struct{}
}

func newCrossingBackend(t *testing.T, end func(*net.TCPConn)) *crossingBackend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	b := &crossingBackend{address: ln.Addr().String(), end: end, conns: make(chan *net.TCPConn, 10), done: make(chan struct{}, 10)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			b.conns <- conn.(*net.TCPConn)
			go b.serve(conn)
		}
	}()
	return b
}

// serve reads requests until the connection ends, and responds to the first one.
func (b *crossingBackend) serve(conn net.Conn) {
	defer func() { b.done <- struct{}{} }()
	reader := bufio.NewReader(conn)
	for i := 0; ; i++ {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		b.read.Add(1)
		if i == 0 {
			time.Sleep(50 * time.Millisecond) // a connection is kept if all of the request was sent when the response comes
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
}

// crossingConn is the edge's side of a connection.
type crossingConn struct {
	*net.TCPConn
	backend *crossingBackend
	isEnded bool
}

// Write ends the backend's side before the second request.
func (c *crossingConn) Write(p []byte) (int, error) {
	if c.backend.read.Load() == 1 && !c.isEnded {
		c.isEnded = true
		c.backend.end(<-c.backend.conns)
		time.Sleep(5 * time.Millisecond) // until its end has arrived
	}
	return c.TCPConn.Write(p)
}

// sendTwo sends two POSTs on one connection, and returns the error of the second one.
func (b *crossingBackend) sendTwo(t *testing.T, body string) error {
	t.Helper()
	c := upstreamconn.Open(b.address).(*upstreamconn.Conns)
	t.Cleanup(func() { c.Close(); c.Abort() })
	c.DialWith(func() net.Conn {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		return &crossingConn{TCPConn: conn.(*net.TCPConn), backend: b}
	})
	var last error
	for range 2 {
		a := newAttempt(t, http.MethodPost, body, false)
		a.ReuseAll = true
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a.Context = ctx
		var resp *http.Response
		if resp, last = c.Send(a); last == nil {
			resp.Body.Close()
		}
	}
	return last
}

func TestARequestThatCrossesACloseWasNotDelivered(t *testing.T) {
	for name, body := range map[string]string{"a short body": "one", "no body": "", "a long body": string(make([]byte, 60<<10))} {
		b := newCrossingBackend(t, func(conn *net.TCPConn) { _ = conn.Close() })
		err := b.sendTwo(t, body)
		if _, ok := errors.AsType[*upstreamconn.NotDeliveredError](err); !ok {
			t.Errorf("%s: %v, want a NotDeliveredError", name, err)
		}
		<-b.done
		if n := b.read.Load(); n != 1 {
			t.Errorf("%s: the backend has read %d requests, want 1", name, n)
		}
	}
}

// The outcome of these requests is not known: some backends have read them.
func TestARequestThatCrossesAnotherEndMayHaveBeenDelivered(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"a backend that ends its direction only, and reads on": func(conn *net.TCPConn) { _ = conn.CloseWrite() },
		"one that ends its direction, and closes later": func(conn *net.TCPConn) {
			_ = conn.CloseWrite()
			time.AfterFunc(50*time.Millisecond, func() { _ = conn.Close() })
		},
		"one that resets the connection": func(conn *net.TCPConn) {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		},
	} {
		err := newCrossingBackend(t, end).sendTwo(t, "one")
		if _, ok := errors.AsType[*upstreamconn.ReusedConnError](err); !ok {
			t.Errorf("%s: %v, want a ReusedConnError", name, err)
		}
	}
}

func TestARequestThatIsReadAndNotAnsweredWasDelivered(t *testing.T) {
	var b *crossingBackend
	b = newCrossingBackend(t, func(conn *net.TCPConn) {
		go func() {
			for b.read.Load() < 2 {
				time.Sleep(100 * time.Microsecond)
			}
			_ = conn.Close()
		}()
	})
	if err := b.sendTwo(t, "one"); !isReused(err) {
		t.Errorf("%v, want a ReusedConnError", err)
	}
}

func isReused(err error) bool {
	_, ok := errors.AsType[*upstreamconn.ReusedConnError](err)
	return ok
}

func TestAllRequestsReuseAConnectionIfTheyMay(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	c := b.open(t)
	send := func(isSingleUse bool) {
		a := newAttempt(t, http.MethodPost, "one", isSingleUse)
		a.ReuseAll = true
		exchange(t, c, a)
	}
	for range 5 {
		send(false)
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("5 requests took %d connections, want 1", n)
	}
	send(true) // its body can't be sent again
	if n := b.opened.Load(); n != 2 {
		t.Errorf("the last request took %d connections, want one of its own", n-1)
	}
}
