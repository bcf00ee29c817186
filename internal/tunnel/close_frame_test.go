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

// goingAwayFrame is the close frame that a client gets when the edge or the endpoint closes the tunnel.
const goingAwayFrame = "\x88\x02\x03\xe9"

// expectMaskedGoingAway checks that the endpoint gets the same close frame, masked.
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
			t.Errorf("got report %+v", r)
		}
	}, webSocket)
}

func TestDrainFinishesTheEndpointsFrameFirst(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		unfinished, tooLate := frame(final|opText, false, []byte("from the endpoint")), frame(final|opText, false, []byte("too late"))
		s.send(s.endpoint, string(unfinished[:1]))
		s.expect(s.client, string(unfinished[:1]))
		s.group.Drain(0, "drain")
		s.expectMaskedGoingAway()
		s.send(s.endpoint, string(unfinished[1:])+string(tooLate[:3]))
		s.expect(s.client, string(unfinished[1:])+goingAwayFrame)
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestDrainFinishesTheClientsFrameFirst(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		unfinished := frame(opText, true, []byte("from the client")) // not the last frame of its message
		s.send(s.client, string(unfinished[:5]))
		s.expect(s.endpoint, string(unfinished[:5]))
		s.group.Drain(0, "drain")
		s.expect(s.client, goingAwayFrame)
		s.send(s.client, string(unfinished[5:]))
		s.expect(s.endpoint, string(unfinished[5:]))
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
		s.expectEOF(s.client) // without a close frame in the middle of a frame
		if took := time.Since(began); took < 1900*time.Millisecond || took > 5*time.Second {
			t.Errorf("closed after %s, want about 2s", took)
		}
		s.waitClosed(tunnel.Edge, "drain")
	}, webSocket)
}

func TestPeerGetsOnlyOneCloseFrame(t *testing.T) {
	forPlainAndTLS(t, func(s *fixture) {
		closeFrame := frame(final|opClose, false, []byte{3, 232})
		s.send(s.endpoint, string(closeFrame))
		s.expect(s.client, string(closeFrame))
		s.group.Drain(0, "drain")
		s.expectMaskedGoingAway() // for the endpoint, this is the answer
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
		if took := time.Since(began); took > 5*time.Second { // Drain promises 3 s
			t.Errorf("closed after %s, want at most 3s", took)
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

func TestCloseHandshakePassesThrough(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		request, answer := frame(final|opClose, true, []byte{3, 232}), frame(final|opClose, false, []byte{3, 232})
		s.send(s.client, string(request))
		s.expect(s.endpoint, string(request))
		s.send(s.endpoint, string(answer))
		s.endpoint.Close()
		s.expect(s.client, string(answer))
		s.expectEOF(s.client)
		s.waitClosed(tunnel.Client, "close frame")
	}, webSocket)
}
