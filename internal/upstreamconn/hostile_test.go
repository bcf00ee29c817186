package upstreamconn_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// scripted is an endpoint that sends the next of its responses to each request, whatever that is, in pieces of a size. Then it closes the connection,
// unless it stays.
type scripted struct {
	responses chan []byte
	pieces    int
	stays     bool
	isEarly   bool      // responds before the body of the request
	sent      chan bool // after each response
}

func (s *scripted) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn)
	}
}

func (s *scripted) serveConn(conn net.Conn) {
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if !s.isEarly {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		isOpen := s.send(conn, <-s.responses)
		if !s.stays {
			_ = conn.Close()
		}
		s.sent <- true
		if !isOpen || !s.stays {
			return
		}
	}
}

func (s *scripted) send(conn net.Conn, response []byte) (isOpen bool) {
	for len(response) > 0 {
		n := min(s.pieces, len(response))
		if _, err := conn.Write(response[:n]); err != nil {
			return false
		}
		response = response[n:]
	}
	return true
}

// outcome is what a client makes of a response.
type outcome struct {
	status int
	body   string
	failed bool // the head or the body
}

func outcomeOf(resp *http.Response, err error) outcome {
	if err != nil {
		return outcome{failed: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return outcome{resp.StatusCode, "", true}
	}
	return outcome{resp.StatusCode, string(body), false}
}

// hostileRequests are the requests whose responses are fuzzed.
var hostileRequests = []struct {
	method string
	body   int
	length int64 // -1: in chunks
	header http.Header
}{
	{method: http.MethodGet},
	{method: http.MethodPost, body: 5, length: 5},
	{method: http.MethodPut, body: 100_000, length: 100_000},
	{method: http.MethodPut, body: 100_000, length: -1},
	{method: http.MethodGet, header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}},
	{method: http.MethodPost, body: 5, length: 5, header: http.Header{"Expect": {"100-continue"}}},
	{method: http.MethodHead},
}

// FuzzHostileEndpoint: whatever an endpoint sends, to whatever request, before or after it has read the body, a client sees the same as with net/http's own transport, and nothing of it becomes the response to
// the next request.
func FuzzHostileEndpoint(f *testing.F) {
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\nhello\n0\n\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
		"HTTP/1.1 200 OK\n\nhello",
		"HTTP/1.0 200 OK\r\n\r\nhello",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\n\r\nhello",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
		"HTTP/1.1 103 Early Hints\r\n\r\n",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 5000) + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA : b\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 999 \r\nContent-Length: +5\r\n\r\nhello",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"",
	} {
		for _, pieces := range []uint16{1, 1000} {
			f.Add([]byte(response), pieces, pieces == 1, uint8(0), false)
		}
		for kind := range hostileRequests {
			f.Add([]byte(response), uint16(1000), false, uint8(kind), kind%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, response []byte, pieces uint16, stays bool, kind uint8, isEarly bool) {
		r := hostileRequests[int(kind)%len(hostileRequests)]
		body := func() io.ReadCloser {
			if r.body == 0 {
				return nil
			}
			return io.NopCloser(strings.NewReader(strings.Repeat("x", r.body)))
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		s := &scripted{responses: make(chan []byte, 8), pieces: max(int(pieces), 1), stays: stays, isEarly: isEarly, sent: make(chan bool, 8)}
		go s.serve(ln)
		c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
		defer c.Abort()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // an endpoint that stays may leave a response incomplete
		defer cancel()

		s.responses <- response
		a := newAttempt(t, r.method, "", false)
		a.Context = ctx
		if r.body > 0 {
			a.Body, a.ContentLength = body(), r.length
		}
		for name, values := range r.header {
			a.Request.Header[name] = values
		}
		got := outcomeOf(c.Send(a))
		<-s.sent // what comes after the next request is sent is its response, for all that a client can tell

		const next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext"
		s.responses <- []byte(next)
		a = newAttempt(t, http.MethodGet, "", false)
		resp, err := c.Send(a)
		if reused, ok := errors.AsType[*upstreamconn.ReusedConnError](err); ok { // the endpoint closes connections at any time: the caller tries again
			t.Log(reused)
			a = newAttempt(t, http.MethodGet, "", false)
			a.NewConn = true
			resp, err = c.Send(a)
		}
		if second := outcomeOf(resp, err); second != (outcome{http.StatusOK, "next", false}) {
			t.Errorf("after %q, the next request got %+v, %v", response, second, err)
		}
		if got.status == http.StatusSwitchingProtocols || ctx.Err() != nil {
			return // net/http takes what follows for a body; and it may have been slower
		}

		transport := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: 10 << 20}
		defer transport.CloseIdleConnections()
		s.responses <- response
		req, err := http.NewRequestWithContext(ctx, r.method, "http://"+ln.Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.body > 0 {
			req.Body, req.ContentLength = body(), r.length
		}
		if r.header != nil {
			req.Header = r.header.Clone()
		}
		want := outcomeOf(transport.RoundTrip(req))
		if isEarly && (got.failed || want.failed) {
			return // the reset of a connection whose request was not read may remove the response
		}
		if got != want && ctx.Err() == nil {
			t.Errorf("%q to %s with a body of %d: got %+v, net/http's transport %+v", response, r.method, r.length, got, want)
		}
	})
}
