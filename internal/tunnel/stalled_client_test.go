package tunnel_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// openPipeTunnel opens a tunnel over connections that know the time of synctest.
func openPipeTunnel(t *testing.T, change ...func(*tunnel.Config)) *fixture {
	s := newFixture(t)
	var ends tunnel.Config
	s.client, ends.Client = net.Pipe()
	s.endpoint, ends.Endpoint = net.Pipe()
	s.start(ends, change...)
	for _, c := range []net.Conn{s.client, s.endpoint} {
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestClientThatReadsNothingIsClosedInTime(t *testing.T) {
	for name, message := range map[string]string{
		"idle":         "",
		"with a queue": string(frame(final|opText, false, []byte("who reads this?"))),
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
						t.Errorf("over after %s, want at most 3s", r.Duration)
					}
				})
			})
		}
	}
}

// unreadTLSConn returns a TLS connection to a client that has read nothing since the handshake.
func unreadTLSConn(t *testing.T, within net.Conn) net.Conn {
	far, near := net.Pipe()
	t.Cleanup(func() { far.Close(); within.Close() })
	_, server := startTLS(t, far, near)
	return server
}
