package tunnel_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// goingAway is what a client is told when the edge, or the endpoint, goes.
const goingAway = "\x88\x02\x03\xe9"

// hearsMasked checks that the endpoint is told the same, masked.
func (s *stage) hearsMasked() {
	s.Helper()
	got := make([]byte, 8)
	if _, err := io.ReadFull(s.endpoint, got); err != nil {
		s.Fatal(err)
	}
	key := binary.BigEndian.Uint32(got[2:])
	if code := binary.BigEndian.Uint16(got[6:]) ^ uint16(key>>16); got[0] != 0x88 || got[1] != 0x82 || code != 1001 {
		s.Errorf("the endpoint got % x", got)
	}
}

func TestADrainTellsBothSidesWhy(t *testing.T) {
	each(t, func(s *stage) {
		hello, reply := frame(final|opText, true, []byte("hello")), frame(final|opClose, true, []byte{3, 233})
		s.says(s.client, string(hello))
		s.hears(s.endpoint, string(hello))
		s.group.Drain(0, "drain")
		s.hears(s.client, goingAway)
		s.hearsMasked()
		s.says(s.client, string(reply))
		s.says(s.endpoint, string(frame(final|opClose, false, []byte{3, 233})))
		s.hearsEnd(s.client)
		s.hearsEnd(s.endpoint)
		if r := s.over(tunnel.Edge, "drain"); r.FromClient != int64(len(hello)) || r.FromEndpoint != 0 {
			t.Errorf("got %+v", r)
		}
	}, webSocket)
}

func TestADrainFinishesTheEndpointsFrameFirst(t *testing.T) {
	each(t, func(s *stage) {
		begun, tooLate := frame(final|opText, false, []byte("from the endpoint")), frame(final|opText, false, []byte("too late"))
		s.says(s.endpoint, string(begun[:1]))
		s.hears(s.client, string(begun[:1]))
		s.group.Drain(0, "drain")
		s.hearsMasked()
		s.says(s.endpoint, string(begun[1:])+string(tooLate[:3]))
		s.hears(s.client, string(begun[1:])+goingAway)
		s.client.Close()
		s.endpoint.Close()
		s.over(tunnel.Edge, "drain")
	}, webSocket)
}

func TestADrainFinishesTheClientsFrameFirst(t *testing.T) {
	each(t, func(s *stage) {
		begun := frame(opText, true, []byte("from the client")) // the message goes on in another frame
		s.says(s.client, string(begun[:5]))
		s.hears(s.endpoint, string(begun[:5]))
		s.group.Drain(0, "drain")
		s.hears(s.client, goingAway)
		s.says(s.client, string(begun[5:]))
		s.hears(s.endpoint, string(begun[5:]))
		s.hearsMasked()
		s.client.Close()
		s.endpoint.Close()
		s.over(tunnel.Edge, "drain")
	}, webSocket)
}

func TestAFrameThatDoesNotEndIsNotWaitedForLong(t *testing.T) {
	plainAndTLS(t, func(s *stage) {
		down := frame(final|opText, false, []byte("never finished"))[:7]
		s.says(s.endpoint, string(down))
		s.hears(s.client, string(down))
		began := time.Now()
		s.group.Drain(0, "drain")
		s.hearsEnd(s.client) // and no close frame in the middle
		if took := time.Since(began); took < 1900*time.Millisecond || took > 5*time.Second {
			t.Errorf("closed after %s, want about 2s", took)
		}
		s.over(tunnel.Edge, "drain")
	}, webSocket)
}

func TestASideThatHasClosedIsToldNothingMore(t *testing.T) {
	plainAndTLS(t, func(s *stage) {
		bye := frame(final|opClose, false, []byte{3, 232})
		s.says(s.endpoint, string(bye))
		s.hears(s.client, string(bye))
		s.group.Drain(0, "drain")
		s.hearsMasked() // to the endpoint it is the answer
		s.hearsEnd(s.client)
		s.over(tunnel.Endpoint, "close frame")
	}, webSocket)
}

func TestAClientThatDoesNotReadHoldsNothingUp(t *testing.T) {
	plainAndTLS(t, func(s *stage) {
		message := frame(final|opBinary, false, make([]byte, 60_000))
		if err := s.endpoint.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = s.endpoint.Write(message)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		began := time.Now()
		s.group.Drain(0, "drain")
		s.over(tunnel.Edge, "drain")
		if took := time.Since(began); took > 5*time.Second { // the promise is 3 s
			t.Errorf("it took %s", took)
		}
	}, webSocket)
}

func TestWhatIsNoWebSocketIsEndedByADrain(t *testing.T) {
	each(t, func(s *stage) {
		s.says(s.endpoint, "some other protocol")
		s.hears(s.client, "some other protocol")
		s.group.Drain(0, "drain")
		s.hearsEnd(s.client)
		s.hearsEnd(s.endpoint)
		s.client.Close()
		s.endpoint.Close()
		s.over(tunnel.Edge, "drain")
	})
}

func TestWhatOnlyClaimsToBeAWebSocketPassesUnchanged(t *testing.T) {
	each(t, func(s *stage) {
		for range 3 {
			s.says(s.endpoint, "\xff\xff\xff garbage")
			s.hears(s.client, "\xff\xff\xff garbage")
			s.says(s.client, "GET / HTTP/1.1")
			s.hears(s.endpoint, "GET / HTTP/1.1")
		}
		s.group.Drain(0, "drain")
		s.hearsEnd(s.client)
		s.hearsEnd(s.endpoint)
		s.client.Close()
		s.endpoint.Close()
		s.over(tunnel.Edge, "drain")
	}, webSocket)
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

func TestACloseHandshakePassesThrough(t *testing.T) {
	each(t, func(s *stage) {
		ask, answer := frame(final|opClose, true, []byte{3, 232}), frame(final|opClose, false, []byte{3, 232})
		s.says(s.client, string(ask))
		s.hears(s.endpoint, string(ask))
		s.says(s.endpoint, string(answer))
		s.endpoint.Close()
		s.hears(s.client, string(answer))
		s.hearsEnd(s.client)
		s.over(tunnel.Client, "close frame")
	}, webSocket)
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
