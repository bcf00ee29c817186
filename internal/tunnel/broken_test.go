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

func TestAResetEndsBoth(t *testing.T) {
	t.Run("by the endpoint", func(t *testing.T) {
		s := open(t)
		s.says(s.endpoint, "hel")
		s.hears(s.client, "hel")
		s.reset(s.endpoint)
		s.hearsEnd(s.client)
		s.over(tunnel.Endpoint, "reset")
	})
	t.Run("by the client", func(t *testing.T) {
		s := open(t, webSocket)
		s.reset(s.client)
		s.hearsEnd(s.endpoint)
		s.over(tunnel.Client, "reset")
	})
}

// deaf is an endpoint that takes nothing any more, and still has something to say.
type deaf struct{ net.Conn }

func (deaf) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestTheLastWordsOfADeadEndpointArrive(t *testing.T) {
	s := open(t, func(e *tunnel.Ends) { e.Endpoint = deaf{e.Endpoint} })
	s.says(s.client, "is anybody there?")
	for range 100 {
		s.says(s.client, strings.Repeat("?", 10_000)) // which must not be left unread: closing would become a reset
	}
	s.says(s.endpoint, "I was")
	s.endpoint.Close()
	s.hears(s.client, "I was")
	s.hearsEnd(s.client) // and nobody waits for this client for ever, although it doesn't close
	if r := s.over(tunnel.Endpoint, ""); r.FromClient != 0 || r.FromEndpoint != 5 {
		t.Errorf("got %+v", r)
	}
}

func TestTheClientOfADeadEndpointIsTold(t *testing.T) {
	for _, end := range []struct {
		name, reason string
		do           func(s *stage)
	}{
		{"that ended", "end", func(s *stage) { s.endpoint.Close() }},
		{"that broke", "reset", func(s *stage) { s.reset(s.endpoint) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			s := open(t, webSocket)
			hello := frame(final|opText, false, []byte("hello"))
			s.says(s.endpoint, string(hello))
			s.hears(s.client, string(hello))
			end.do(s)
			s.hears(s.client, goingAway)
			s.says(s.client, string(frame(final|opClose, true, []byte{3, 233})))
			began := time.Now()
			s.hearsEnd(s.client)
			if took := time.Since(began); took > 900*time.Millisecond {
				t.Errorf("the answer was not noticed: closed after %s", took)
			}
			s.over(tunnel.Endpoint, end.reason)
		})
		t.Run(end.name+" within a frame", func(t *testing.T) {
			s := open(t, webSocket)
			s.says(s.endpoint, "\x82\x7e")
			s.hears(s.client, "\x82\x7e")
			end.do(s)
			s.hearsEnd(s.client)
			s.over(tunnel.Endpoint, end.reason)
		})
	}
}

func TestASilentClientOfADeadEndpointIsNotKept(t *testing.T) {
	s := open(t, webSocket)
	s.endpoint.Close()
	s.over(tunnel.Endpoint, "end")
}

func TestCutTellsTheClientAndDoesNotWaitForTheEndpoint(t *testing.T) {
	s := open(t, webSocket)
	s.group.Cut()
	s.hears(s.client, goingAway)
	s.says(s.client, string(frame(final|opClose, true, nil)))
	s.hearsEnd(s.client)
	s.over(tunnel.Edge, "cut")

	s = open(t, webSocket)
	s.says(s.endpoint, "\x82\x7e")
	s.hears(s.client, "\x82\x7e")
	began := time.Now()
	s.group.Cut()
	s.hearsEnd(s.client)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("the frame was waited for: closed after %s", took)
	}
	s.client.Close()
	s.over(tunnel.Edge, "cut")
}

func TestATLSClientSeesTheEnd(t *testing.T) {
	s := newStage(t)
	var ends tunnel.Ends
	far, near := connect(t)
	s.client, ends.Client = asConns(secure(t, far, near))
	s.endpoint, ends.Endpoint = connect(t)
	s.start(ends, webSocket)
	s.endpoint.Close()
	s.hears(s.client, goingAway)
	if _, err := s.client.Read(make([]byte, 1)); err != io.EOF { // close_notify, not just the end of the stream
		t.Errorf("got %v, want EOF", err)
	}
	s.over(tunnel.Endpoint, "end")
}

func TestCutDoesNotWaitForADrainToFinish(t *testing.T) {
	s := open(t, webSocket)
	s.says(s.endpoint, "\x82\x7e")
	s.hears(s.client, "\x82\x7e")
	s.group.Drain(0, "drain")
	s.hearsMasked()
	began := time.Now()
	s.group.Cut()
	s.hearsEnd(s.client)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("the frame was waited for: closed after %s", took)
	}
	s.client.Close()
	s.over(tunnel.Edge, "drain")
}
