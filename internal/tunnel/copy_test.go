package tunnel_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

func TestBothDirectionsAreCopiedAndCounted(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		s.send(s.client, "ping")
		s.expect(s.endpoint, "ping")
		s.send(s.endpoint, "pong!")
		s.expect(s.client, "pong!")
		live := s.traffic.Parent // of the service
		counted := func() [3]int64 {
			return [3]int64{live.Sockets.Load(), live.FromClient.Load(), live.FromEndpoint.Load()}
		}
		want := [3]int64{1, 4, 5}
		s.eventually(func() bool { return counted() == want }, func() any { return counted() })
		s.halfClose(s.client)
		s.expectEOF(s.endpoint)
		s.endpoint.Close()
		s.expectEOF(s.client)
		r := s.waitClosed(tunnel.Client, "end")
		if r.FromClient != 4 || r.FromEndpoint != 5 || r.Duration <= 0 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestLargeTransfersAreCopiedUnchanged(t *testing.T) {
	for _, size := range []int{511, 512, 513, 1024, 16 << 10, 32 << 10, 32<<10 + 512, 5 << 20} {
		forEachKind(t, func(s *fixture) {
			sent := []byte(strings.Repeat("0123456789abcde", size/15+1)[:size])
			for _, way := range [][2]net.Conn{{s.client, s.endpoint}, {s.endpoint, s.client}} {
				go func() { _, _ = way[0].Write(sent) }()
				got := make([]byte, size)
				if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes arrived otherwise: %v", size, err)
				}
			}
			s.client.Close()
			s.endpoint.Close()
			s.waitClosed("", "")
		})
	}
}

func TestClientMayHalfClose(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		s.send(s.client, "all I have")
		s.halfClose(s.client)
		s.expect(s.endpoint, "all I have")
		s.expectEOF(s.endpoint)
		s.send(s.endpoint, "the answer")
		s.expect(s.client, "the answer")
		s.send(s.endpoint, "and more")
		s.halfClose(s.endpoint)
		s.expect(s.client, "and more")
		s.expectEOF(s.client)
		s.waitClosed(tunnel.Client, "end")
	})
}

func TestEndpointMayHalfClose(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		s.send(s.endpoint, "bye")
		s.halfClose(s.endpoint)
		s.expect(s.client, "bye")
		s.expectEOF(s.client)
		s.send(s.client, "just one more thing")
		s.expect(s.endpoint, "just one more thing")
		s.client.Close()
		s.expectEOF(s.endpoint)
		s.waitClosed(tunnel.Endpoint, "end")
	})
}

func TestBufferedBytesAreForwardedFirst(t *testing.T) {
	forEachKind(t, func(s *fixture) {
		s.send(s.client, "two")
		s.send(s.endpoint, "deux")
		s.expect(s.endpoint, "onetwo")
		s.expect(s.client, "undeux")
		s.client.Close()
		s.endpoint.Close()
		if r := s.waitClosed("", ""); r.FromClient != 6 || r.FromEndpoint != 6 {
			t.Errorf("got %+v", r)
		}
	}, func(e *tunnel.Config) { e.BufferedFromClient, e.BufferedFromEndpoint = []byte("one"), []byte("un") })
}

func TestExistingDeadlinesAreCleared(t *testing.T) {
	s := openTunnel(t, func(e *tunnel.Config) {
		for _, c := range []net.Conn{e.Client, e.Endpoint} {
			if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.send(s.client, "ping")
	s.expect(s.endpoint, "ping")
	s.send(s.endpoint, "pong")
	s.expect(s.client, "pong")
	s.client.Close()
	s.endpoint.Close()
	s.waitClosed("", "")
}

func TestConnWithoutCloseWriteIsClosedWhole(t *testing.T) {
	s := newFixture(t)
	var ends tunnel.Config
	s.client, ends.Client = net.Pipe()
	s.endpoint, ends.Endpoint = net.Pipe()
	s.start(ends)
	s.client.Close()
	s.expectEOF(s.endpoint)
	s.waitClosed(tunnel.Client, "end")
}

func TestAWrapperIsClosedOnce(t *testing.T) {
	var wrapper *transparentConn
	s := openTunnel(t, func(e *tunnel.Config) {
		wrapper = &transparentConn{TCPConn: e.Endpoint.(*net.TCPConn)}
		e.Endpoint = wrapper
	})
	s.client.Close()
	s.endpoint.Close()
	s.waitClosed("", "")
	if n := wrapper.closes.Load(); n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestATunnelNeedsTwoGoroutines(t *testing.T) {
	const tunnels = 50
	s := openTunnel(t)
	stages := []*fixture{s}
	for range tunnels - 1 {
		stages = append(stages, openTunnel(t))
	}
	for _, s := range stages {
		s.send(s.client, "x")
		s.expect(s.endpoint, "x")
	}
	if n := len(goroutines()); n != 2*tunnels {
		t.Errorf("%d goroutines for %d tunnels", n, tunnels)
	}
	for _, s := range stages {
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	}
	s.expectNoGoroutines()
}
