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

// TestARejectionIsReadWhileTheBodyIsStillSent: an application that rejects an upload responds and closes the connection. The
// kernel then resets the connection because it has unread data.
func TestARejectionIsReadWhileTheBodyIsStillSent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	rejection := "HTTP/1.1 413 Too Large\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, rejection)
			_ = conn.Close()
		}
	}()
	c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { c.Close(); c.Abort() })
	for range 30 {
		req := newAttempt(t, http.MethodPost, "body", true)
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 5<<20))), 5<<20
		resp, err := c.Send(req)
		if err != nil {
			t.Fatalf("the rejection was lost: %v", err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || len(body) != 20000 {
			t.Fatalf("got %d with %d bytes, %v; want 413 with 20000", resp.StatusCode, len(body), err)
		}
	}
	eventuallyNoGoroutines(t)
}

// TestNoConnectionEscapesAbort: a connection that was dialed during Close and Abort is closed.
func TestNoConnectionEscapesAbort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var accepted sync.Map // keeps the connections open
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Store(conn, true) // without a response
		}
	}()
	for range 200 {
		c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				resp, err := c.Send(newAttempt(t, http.MethodPost, "", false))
				if err == nil {
					resp.Body.Close()
				}
				done <- err
			}()
		}
		c.Close()
		c.Abort()
		for range cap(done) {
			if err := <-done; err == nil {
				t.Fatal("a request got a response")
			}
		}
		if n := c.Connections(); n != 0 {
			t.Fatalf("%d connections are still open", n)
		}
	}
}
