package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

func TestAClientThatStallsGets408(t *testing.T) {
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	s := b.serveSite(t, &site{globalOptions: "servers {\n timeouts {\n read_body_idle 500ms\n }\n}"}, "edge_proxy api:80")
	for _, length := range []int{100, 100_000} {
		for _, method := range []string{"POST", "PUT"} {
			conn := s.dial(t)
			writeRequest(t, conn, fmt.Sprintf("%s / HTTP/1.1\nHost: a\nContent-Length: %d\n\n", method, length))
			if _, err := conn.Write(make([]byte, length/2)); err != nil {
				t.Fatal(err)
			}
			if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusRequestTimeout {
				t.Errorf("%s of %d bytes: %s, want 408", method, length, resp.Status)
			}
		}
	}
}

// TestNoClientIsSent499: it is for the log. A client that closes its sending end alone counts as gone, and gets nothing.
func TestNoClientIsSent499(t *testing.T) {
	reached := make(chan struct{}, 10)
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, rest *bufio.Reader) {
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, rest) // never answered
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	for _, request := range []string{
		"GET / HTTP/1.1\nHost: a\n\n",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 100000\n\nhello",
	} {
		conn := s.dial(t)
		writeRequest(t, conn, request)
		<-reached
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(conn)
		if len(text) > 0 {
			t.Errorf("%q: the client was sent %q", request, text)
		}
	}
}
