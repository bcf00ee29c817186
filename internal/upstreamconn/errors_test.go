package upstreamconn_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/theworklabs/edge/internal/upstreamconn"
)

// openRawEndpoint returns the link to an endpoint that reads the head of each request, sends these bytes and closes the connection.
func openRawEndpoint(t *testing.T, answer string) *upstreamconn.Conns {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			}()
		}
	}()
	l := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { l.Close(); l.Abort() })
	return l
}

func TestAnInvalidResponseHeadIsMalformed(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
		"HTTP/1.1 two hundred\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: lzma\r\n\r\n",
	} {
		for _, upgrade := range []bool{false, true} {
			req := newRequest(t, http.MethodGet, "", false)
			if upgrade {
				req.Header.Set("Upgrade", "websocket")
			}
			resp, err := openRawEndpoint(t, answer).Send(req)
			if err == nil {
				resp.Body.Close()
				t.Errorf("%q was taken for an answer", answer)
			} else if !upstreamconn.IsMalformed(err) {
				t.Errorf("%q, upgrade %t: %v is not malformed", answer, upgrade, err)
			}
		}
	}
}

func TestAConnectionClosedWithinTheHeadIsNotMalformed(t *testing.T) {
	for _, answer := range []string{
		"",
		"HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
	} {
		for _, upgrade := range []bool{false, true} {
			req := newRequest(t, http.MethodGet, "", false)
			if upgrade {
				req.Header.Set("Upgrade", "websocket")
			}
			resp, err := openRawEndpoint(t, answer).Send(req)
			if err == nil {
				resp.Body.Close()
				t.Errorf("%q was taken for an answer", answer)
			} else if upstreamconn.IsMalformed(err) {
				t.Errorf("%q, upgrade %t: %v is malformed", answer, upgrade, err)
			}
		}
	}
}

func TestAFailedDialIsNotMalformed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		resp, err := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns).Send(newRequest(t, method, "", false))
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || upstreamconn.IsMalformed(err) {
			t.Errorf("%s: %v", method, err)
		}
	}
}
