package tunnel_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

func idleTimeout(d time.Duration) func(*tunnel.Config) {
	return func(c *tunnel.Config) { c.IdleTimeout = d }
}

func TestIdleTunnelIsClosedAfterItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := openPipeTunnel(t, webSocket, idleTimeout(time.Minute))
		for i, from := range []net.Conn{s.client, s.endpoint, s.client} { // either direction counts
			time.Sleep(40 * time.Second)
			to := []net.Conn{s.endpoint, s.client, s.endpoint}[i]
			message := frame(final|opText, from == s.client, nil)
			go func() { _, _ = from.Write(message) }()
			s.expect(to, string(message))
		}
		s.expect(s.client, goingAwayFrame)
		if took := time.Since(began); took != 3*time.Minute {
			t.Errorf("closed after %s, want a minute after the last byte at 2m", took)
		}
		s.expectMaskedGoingAway()
		s.expectEOF(s.client)
		if r := s.waitClosed(tunnel.Edge, "idle"); r.Duration != 3*time.Minute+3*time.Second {
			t.Errorf("closed after %s, want 3s more for the frame and the answer", r.Duration)
		}
	})
}

func TestTunnelStaysOpenWithoutIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openPipeTunnel(t, webSocket)
		time.Sleep(1000 * time.Hour)
		go func() { _, _ = io.WriteString(s.client, "hello") }()
		s.expect(s.endpoint, "hello")
		s.client.Close()
		s.expectEOF(s.endpoint)
		s.waitClosed(tunnel.Client, "")
	})
}

func TestIdleTimeoutEndsHalfClosedTunnel(t *testing.T) {
	s := openTunnel(t, idleTimeout(100*time.Millisecond))
	s.halfClose(s.client)
	s.expectEOF(s.endpoint)
	s.expectEOF(s.client)
	s.waitClosed(tunnel.Client, "end") // the side that closed first
}
