package tunnel_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

func idleTimeout(d time.Duration) func(*tunnel.Ends) {
	return func(e *tunnel.Ends) { e.IdleTimeout = d }
}

func TestATunnelInWhichNothingMovesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := piped(t, webSocket, idleTimeout(time.Minute))
		for i, from := range []net.Conn{s.client, s.endpoint, s.client} { // either direction counts
			time.Sleep(40 * time.Second)
			to := []net.Conn{s.endpoint, s.client, s.endpoint}[i]
			message := frame(final|opText, from == s.client, nil)
			go func() { _, _ = from.Write(message) }()
			s.hears(to, string(message))
		}
		s.hears(s.client, goingAway)
		if took := time.Since(began); took != 3*time.Minute {
			t.Errorf("closed after %s, want a minute after the last byte at 2m", took)
		}
		s.hearsMasked()
		s.hearsEnd(s.client)
		if r := s.over(tunnel.Edge, "idle"); r.Duration != 3*time.Minute+3*time.Second {
			t.Errorf("over after %s, want 3s for the frame and the answer", r.Duration)
		}
	})
}

func TestWithoutAnIdleTimeoutATunnelStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := piped(t, webSocket)
		time.Sleep(1000 * time.Hour)
		go func() { _, _ = io.WriteString(s.client, "hello") }()
		s.hears(s.endpoint, "hello")
		s.client.Close()
		s.hearsEnd(s.endpoint)
		s.over(tunnel.Client, "")
	})
}

func TestAHalfClosedTunnelThatIsSilentEndsByItsIdleTimeout(t *testing.T) {
	s := open(t, idleTimeout(100*time.Millisecond))
	s.halfClose(s.client)
	s.hearsEnd(s.endpoint)
	s.hearsEnd(s.client)
	s.over(tunnel.Client, "end") // who began it
}
