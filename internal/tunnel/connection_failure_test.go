package tunnel_test

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

func TestResetClosesBothConnections(t *testing.T) {
	t.Run("by the endpoint", func(t *testing.T) {
		s := openTunnel(t)
		s.send(s.endpoint, "hel")
		s.expect(s.client, "hel")
		s.reset(s.endpoint)
		s.expectEOF(s.client)
		s.waitClosed(tunnel.Endpoint, "reset")
	})
	t.Run("by the client", func(t *testing.T) {
		s := openTunnel(t, webSocket)
		s.reset(s.client)
		s.expectEOF(s.endpoint)
		s.waitClosed(tunnel.Client, "reset")
	})
}

// failingWriter is a connection to an endpoint that still sends, but to which every write fails.
type failingWriter struct{ net.Conn }

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestLastDataOfFailedEndpointIsDelivered(t *testing.T) {
	s := openTunnel(t, func(c *tunnel.Config) { c.Endpoint = failingWriter{c.Endpoint} })
	s.send(s.client, "request")
	for range 100 {
		s.send(s.client, strings.Repeat("?", 10_000)) // the tunnel must read this: to close with unread bytes would send a reset
	}
	s.send(s.endpoint, "reply")
	s.endpoint.Close()
	s.expect(s.client, "reply")
	s.expectEOF(s.client) // although the client does not close its side
	if r := s.waitClosed(tunnel.Endpoint, ""); r.FromClient != 0 || r.FromEndpoint != 5 {
		t.Errorf("got report %+v", r)
	}
}

func TestClientGetsCloseFrameWhenEndpointFails(t *testing.T) {
	for _, failure := range []struct {
		name, reason string
		do           func(s *fixture)
	}{
		{"closes", "end", func(s *fixture) { s.endpoint.Close() }},
		{"resets", "reset", func(s *fixture) { s.reset(s.endpoint) }},
	} {
		t.Run(failure.name, func(t *testing.T) {
			s := openTunnel(t, webSocket)
			hello := frame(final|opText, false, []byte("hello"))
			s.send(s.endpoint, string(hello))
			s.expect(s.client, string(hello))
			failure.do(s)
			s.expect(s.client, goingAwayFrame)
			s.send(s.client, string(frame(final|opClose, true, []byte{3, 233})))
			began := time.Now()
			s.expectEOF(s.client)
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("closed after %s, want at once after the answer", took)
			}
			s.waitClosed(tunnel.Endpoint, failure.reason)
		})
		t.Run(failure.name+" within a frame", func(t *testing.T) {
			s := openTunnel(t, webSocket)
			s.send(s.endpoint, "\x82\x7e")
			s.expect(s.client, "\x82\x7e")
			failure.do(s)
			s.expectEOF(s.client)
			s.waitClosed(tunnel.Endpoint, failure.reason)
		})
	}
}

func TestSilentClientIsClosedWhenEndpointFails(t *testing.T) {
	s := openTunnel(t, webSocket)
	s.endpoint.Close()
	s.waitClosed(tunnel.Endpoint, "end")
}

func TestAbortSendsCloseFrameWithoutWaiting(t *testing.T) {
	s := openTunnel(t, webSocket)
	s.group.Abort()
	s.expect(s.client, goingAwayFrame)
	s.send(s.client, string(frame(final|opClose, true, nil)))
	s.expectEOF(s.client)
	s.waitClosed(tunnel.Edge, "cut")

	s = openTunnel(t, webSocket)
	s.send(s.endpoint, "\x82\x7e")
	s.expect(s.client, "\x82\x7e")
	s.expectAbortAtOnce()
	s.client.Close()
	s.waitClosed(tunnel.Edge, "cut")
}

func TestTLSClientGetsCloseNotify(t *testing.T) {
	s := newFixture(t)
	var config tunnel.Config
	remote, local := tcpPair(t)
	s.client, config.Client = asConns(startTLS(t, remote, local))
	s.endpoint, config.Endpoint = tcpPair(t)
	s.start(config, webSocket)
	s.endpoint.Close()
	s.expect(s.client, goingAwayFrame)
	if _, err := s.client.Read(make([]byte, 1)); err != io.EOF { // a close_notify, or the error would be io.ErrUnexpectedEOF
		t.Errorf("got %v, want EOF", err)
	}
	s.waitClosed(tunnel.Endpoint, "end")
}

func TestAbortDoesNotWaitForDrain(t *testing.T) {
	s := openTunnel(t, webSocket)
	s.send(s.endpoint, "\x82\x7e")
	s.expect(s.client, "\x82\x7e")
	s.group.Drain(0, "drain")
	s.expectMaskedGoingAway()
	s.expectAbortAtOnce()
	s.client.Close()
	s.waitClosed(tunnel.Edge, "drain")
}
