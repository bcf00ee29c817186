package tunnel_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
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
