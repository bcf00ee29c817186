package tunnel_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// piped opens a tunnel over connections that know the time of synctest.
func piped(t *testing.T, change ...func(*tunnel.Ends)) *stage {
	s := newStage(t)
	var ends tunnel.Ends
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

func TestAClientThatReadsNothingIsGivenUpInTime(t *testing.T) {
	for name, message := range map[string]string{
		"idle":         "",
		"with a queue": string(frame(final|opText, false, []byte("who reads this?"))),
	} {
		for _, tlsClient := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, tlsClient), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := piped(t, webSocket, func(e *tunnel.Ends) {
						if tlsClient {
							e.Client = unread(t, e.Client)
						}
					})
					go func() { _, _ = s.endpoint.Write([]byte(message)) }()
					synctest.Wait()
					s.group.Drain(0, "drain")
					if r := s.over(tunnel.Edge, "drain"); r.Duration > 3*time.Second {
						t.Errorf("over after %s, want at most 3s", r.Duration)
					}
				})
			})
		}
	}
}

// unread returns a TLS connection to a client that has read nothing since the handshake.
func unread(t *testing.T, within net.Conn) net.Conn {
	far, near := net.Pipe()
	t.Cleanup(func() { far.Close(); within.Close() })
	_, server := secure(t, far, near)
	return server
}
