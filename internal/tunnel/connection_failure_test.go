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

// failingWriter is an endpoint that takes nothing any more, and still has something to say.
type failingWriter struct{ net.Conn }

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestLastDataOfFailedEndpointIsDelivered(t *testing.T) {
	s := openTunnel(t, func(e *tunnel.Config) { e.Endpoint = failingWriter{e.Endpoint} })
	s.send(s.client, "is anybody there?")
	for range 100 {
		s.send(s.client, strings.Repeat("?", 10_000)) // which must not be left unread: closing would become a reset
	}
	s.send(s.endpoint, "I was")
	s.endpoint.Close()
	s.expect(s.client, "I was")
	s.expectEOF(s.client) // and nobody waits for this client for ever, although it doesn't close
	if r := s.waitClosed(tunnel.Endpoint, ""); r.FromClient != 0 || r.FromEndpoint != 5 {
		t.Errorf("got %+v", r)
	}
}

func TestClientGetsCloseFrameWhenEndpointFails(t *testing.T) {
	for _, end := range []struct {
		name, reason string
		do           func(s *fixture)
	}{
		{"that ended", "end", func(s *fixture) { s.endpoint.Close() }},
		{"that broke", "reset", func(s *fixture) { s.reset(s.endpoint) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := openTunnel(t, webSocket)
			hello := frame(final|opText, false, []byte("hello"))
			s.send(s.endpoint, string(hello))
			s.expect(s.client, string(hello))
			end.do(s)
			s.expect(s.client, goingAwayFrame)
			s.send(s.client, string(frame(final|opClose, true, []byte{3, 233})))
			began := time.Now()
			s.expectEOF(s.client)
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("the answer was not noticed: closed after %s", took)
			}
			s.waitClosed(tunnel.Endpoint, end.reason)
		})
		t.Run(end.name+" within a frame", func(t *testing.T) {
			s := openTunnel(t, webSocket)
			s.send(s.endpoint, "\x82\x7e")
			s.expect(s.client, "\x82\x7e")
			end.do(s)
			s.expectEOF(s.client)
			s.waitClosed(tunnel.Endpoint, end.reason)
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
	began := time.Now()
	s.group.Abort()
	s.expectEOF(s.client)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("the frame was waited for: closed after %s", took)
	}
	s.client.Close()
	s.waitClosed(tunnel.Edge, "cut")
}

func TestTLSClientGetsCloseNotify(t *testing.T) {
	s := newFixture(t)
	var ends tunnel.Config
	far, near := tcpPair(t)
	s.client, ends.Client = asConns(startTLS(t, far, near))
	s.endpoint, ends.Endpoint = tcpPair(t)
	s.start(ends, webSocket)
	s.endpoint.Close()
	s.expect(s.client, goingAwayFrame)
	if _, err := s.client.Read(make([]byte, 1)); err != io.EOF { // close_notify, not just the end of the stream
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
	began := time.Now()
	s.group.Abort()
	s.expectEOF(s.client)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("the frame was waited for: closed after %s", took)
	}
	s.client.Close()
	s.waitClosed(tunnel.Edge, "drain")
}
