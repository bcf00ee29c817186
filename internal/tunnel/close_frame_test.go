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

// goingAwayFrame is what a client is told when the edge, or the endpoint, goes.
const goingAwayFrame = "\x88\x02\x03\xe9"

// expectMaskedGoingAway checks that the endpoint is told the same, masked.
func (s *fixture) expectMaskedGoingAway() {
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

func TestDrainSendsCloseFramesToBothPeers(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		hello, reply := frame(final|opText, true, []byte("hello")), frame(final|opClose, true, []byte{3, 233})
		s.send(s.client, string(hello))
		s.expect(s.endpoint, string(hello))
		s.group.Drain(0, "drain")
		s.expect(s.client, goingAwayFrame)
		s.expectMaskedGoingAway()
		s.send(s.client, string(reply))
		s.send(s.endpoint, string(frame(final|opClose, false, []byte{3, 233})))
		s.expectEOF(s.client)
		s.expectEOF(s.endpoint)
		if r := s.waitClosed(tunnel.Edge, "drain"); r.FromClient != int64(len(hello)) || r.FromEndpoint != 0 {
			t.Errorf("got %+v", r)
		}
	}, webSocket)
}

func TestDrainFinishesTheEndpointsFrameFirst(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		begun, tooLate := frame(final|opText, false, []byte("from the endpoint")), frame(final|opText, false, []byte("too late"))
		s.send(s.endpoint, string(begun[:1]))
		s.expect(s.client, string(begun[:1]))
		s.group.Drain(0, "drain")
		s.expectMaskedGoingAway()
		s.send(s.endpoint, string(begun[1:])+string(tooLate[:3]))
		s.expect(s.client, string(begun[1:])+goingAwayFrame)
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestDrainFinishesTheClientsFrameFirst(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		begun := frame(opText, true, []byte("from the client")) // the message goes on in another frame
		s.send(s.client, string(begun[:5]))
		s.expect(s.endpoint, string(begun[:5]))
		s.group.Drain(0, "drain")
		s.expect(s.client, goingAwayFrame)
		s.send(s.client, string(begun[5:]))
		s.expect(s.endpoint, string(begun[5:]))
		s.expectMaskedGoingAway()
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestDrainLimitsTheWaitForAnUnfinishedFrame(t *testing.T) {
	forPlainAndTLS(t, func(s *fixture) {
		down := frame(final|opText, false, []byte("never finished"))[:7]
		s.send(s.endpoint, string(down))
		s.expect(s.client, string(down))
		began := time.Now()
		s.group.Drain(0, "drain")
		s.expectEOF(s.client) // and no close frame in the middle
		if took := time.Since(began); took < 1900*time.Millisecond || took > 5*time.Second {
			t.Errorf("closed after %s, want about 2s", took)
		}
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestPeerGetsOnlyOneCloseFrame(t *testing.T) {
	forPlainAndTLS(t, func(s *fixture) {
		bye := frame(final|opClose, false, []byte{3, 232})
		s.send(s.endpoint, string(bye))
		s.expect(s.client, string(bye))
		s.group.Drain(0, "drain")
		s.expectMaskedGoingAway() // to the endpoint it is the answer
		s.expectEOF(s.client)
		s.waitClosed(tunnel.Endpoint, "close frame")
	}, webSocket)
}

func TestClientThatDoesNotReadDoesNotDelayDrain(t *testing.T) {
	forPlainAndTLS(t, func(s *fixture) {
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
		s.waitClosed(tunnel.Edge, "drain")
		if took := time.Since(began); took > 5*time.Second { // the promise is 3 s
			t.Errorf("it took %s", took)
		}
	}, webSocket)
}

func TestDrainEndsOtherProtocolsWithEOF(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		s.send(s.endpoint, "some other protocol")
		s.expect(s.client, "some other protocol")
		s.group.Drain(0, "drain")
		s.expectEOF(s.client)
		s.expectEOF(s.endpoint)
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed(tunnel.Edge, "drain")
	})
}

func TestInvalidFramesPassUnchanged(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		for range 3 {
			s.send(s.endpoint, "\xff\xff\xff garbage")
			s.expect(s.client, "\xff\xff\xff garbage")
			s.send(s.client, "GET / HTTP/1.1")
			s.expect(s.endpoint, "GET / HTTP/1.1")
		}
		s.group.Drain(0, "drain")
		s.expectEOF(s.client)
		s.expectEOF(s.endpoint)
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestACloseHandshakePassesThrough(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		ask, answer := frame(final|opClose, true, []byte{3, 232}), frame(final|opClose, false, []byte{3, 232})
		s.send(s.client, string(ask))
		s.expect(s.endpoint, string(ask))
		s.send(s.endpoint, string(answer))
		s.endpoint.Close()
		s.expect(s.client, string(answer))
		s.expectEOF(s.client)
		s.waitClosed(tunnel.Client, "close frame")
	}, webSocket)
}
