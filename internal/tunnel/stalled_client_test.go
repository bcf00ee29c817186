package tunnel_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

func TestClientThatReadsNothingIsClosedInTime(t *testing.T) {
	for name, message := range map[string]string{
		"idle":             "",
		"with unread data": string(frame(final|opText, false, []byte("who reads this?"))),
	} {
		for _, tlsClient := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, tlsClient), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := openPipeTunnel(t, webSocket, func(e *tunnel.Config) {
						if tlsClient {
							e.Client = unreadTLSConn(t, e.Client)
						}
					})
					go func() { _, _ = s.endpoint.Write([]byte(message)) }()
					synctest.Wait()
					s.group.Drain(0, "drain")
					if r := s.waitClosed(tunnel.Edge, "drain"); r.Duration > 3*time.Second {
						t.Errorf("closed after %s, want at most 3s", r.Duration)
					}
				})
			})
		}
	}
}

// unreadTLSConn closes conn with the test, and returns a TLS connection to a client that reads nothing after the handshake.
func unreadTLSConn(t *testing.T, conn net.Conn) net.Conn {
	remote, local := net.Pipe()
	t.Cleanup(func() { remote.Close(); conn.Close() })
	_, server := startTLS(t, remote, local)
	return server
}
