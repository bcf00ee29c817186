package upstreamconn_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// TestARejectionIsReadWhileTheBodyIsStillSent: an application that refuses an upload answers, and closes the connection, which
// the kernel then resets because there is unread data.
func TestARejectionIsReadWhileTheBodyIsStillSent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	refusal := "HTTP/1.1 413 Too Large\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, refusal)
			_ = conn.Close()
		}
	}()
	l := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { l.Close(); l.Abort() })
	for range 30 {
		req := newRequest(t, http.MethodPost, "once", true)
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 5<<20))), 5<<20
		resp, err := l.Send(req)
		if err != nil {
			t.Fatalf("the refusal was lost: %v", err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || len(body) != 20000 {
			t.Fatalf("%d with %d bytes, %v", resp.StatusCode, len(body), err)
		}
	}
	eventuallyNoGoroutines(t)
}

// TestNoConnectionEscapesAbort: one that was dialled while the link is closed and cut is in neither's list, or is closed.
func TestNoConnectionEscapesAbort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var held sync.Map
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			held.Store(conn, true) // and never answered
		}
	}()
	for range 200 {
		l := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				resp, err := l.Send(newRequest(t, http.MethodPost, "", false))
				if err == nil {
					resp.Body.Close()
				}
				done <- err
			}()
		}
		l.Close()
		l.Abort()
		for range cap(done) {
			if err := <-done; err == nil {
				t.Fatal("a request was answered")
			}
		}
		if n := l.Connections(); n != 0 {
			t.Fatalf("%d connections are left", n)
		}
	}
}

// TestKeepAliveFindsADeadEndpointWithinSeconds: the FIN of a container that is removed may be lost with its network namespace.
func TestKeepAliveFindsADeadEndpointWithinSeconds(t *testing.T) {
	b := newBackend(t, func(http.ResponseWriter, *http.Request) {})
	l := b.open(t)
	exchange(t, l, newRequest(t, http.MethodGet, "", false))
	idle, interval, count := l.KeepAlive(t)
	if idle > 5 || interval > 2 || count > 3 || idle*interval*count == 0 {
		t.Errorf("after %d s of silence %d probes are sent, each %d s; want it known within 11 s", idle, count, interval)
	}
}
