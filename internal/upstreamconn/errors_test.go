package upstreamconn_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

// openRawEndpoint starts an endpoint that reads the head of each request, sends the response's bytes and closes the
// connection.
func openRawEndpoint(t *testing.T, response string) *upstreamconn.Conns {
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
					_, _ = io.WriteString(conn, response)
				}
			}()
		}
	}()
	c := upstreamconn.Open(ln.Addr().String()).(*upstreamconn.Conns)
	t.Cleanup(func() { c.Close(); c.Abort() })
	return c
}

func TestOnlyAnInvalidResponseHeadIsMalformed(t *testing.T) {
	for response, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!": true,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                           true,
		"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n":                                true,
		"HTTP/1.1 two hundred\r\n\r\n":                                            true,
		"SSH-2.0-OpenSSH_9.2\r\n":                                                 true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: lzma\r\n\r\n":                      true,
		// The connection ends within the head, or after a 1xx response.
		"":                    false,
		"HTTP/1.1 200 OK\r\n": false,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n":           false,
		"HTTP/1.1 100 Continue\r\n\r\n":                      false,
		"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n": false,
	} {
		for _, isUpgrade := range []bool{false, true} {
			req := newAttempt(t, http.MethodGet, "", false)
			if isUpgrade {
				req.Request.Header.Set("Upgrade", "websocket")
			}
			resp, err := openRawEndpoint(t, response).Send(req)
			if err == nil {
				resp.Body.Close()
				t.Errorf("%q was accepted as a response", response)
			} else if upstreamconn.IsMalformed(err) != want {
				t.Errorf("%q, upgrade %t: IsMalformed(%v) is %t, want %t", response, isUpgrade, err, !want, want)
			}
		}
	}
}

func TestAFailedDialIsNotMalformed(t *testing.T) {
	address := testport.Address(t)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		resp, err := upstreamconn.Open(address).(*upstreamconn.Conns).Send(newAttempt(t, method, "", false))
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || upstreamconn.IsMalformed(err) {
			t.Errorf("%s: got %v, want an error that is not malformed", method, err)
		}
	}
}
