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
		service := s.traffic.Parent
		counted := func() [3]int64 {
			return [3]int64{service.Sockets.Load(), service.FromClient.Load(), service.FromEndpoint.Load()}
		}
		want := [3]int64{1, 4, 5}
		s.eventually(func() bool { return counted() == want }, func() any { return counted() })
		s.halfClose(s.client)
		s.expectEOF(s.endpoint)
		s.endpoint.Close()
		s.expectEOF(s.client)
		r := s.waitClosed(tunnel.Client, "end")
		if r.FromClient != 4 || r.FromEndpoint != 5 || r.Duration <= 0 {
			t.Errorf("got report %+v", r)
		}
	})
}

func TestLargeTransfersAreCopiedUnchanged(t *testing.T) {
	for _, size := range []int{511, 512, 513, 1024, 16 << 10, 32 << 10, 32<<10 + 512, 5 << 20} {
		forEachKind(t, func(s *fixture) {
			sent := []byte(strings.Repeat("0123456789abcde", size/15+1)[:size])
			for _, pair := range [][2]net.Conn{{s.client, s.endpoint}, {s.endpoint, s.client}} {
				go func() { _, _ = pair[0].Write(sent) }()
				got := make([]byte, size)
				if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d bytes arrived changed: %v", size, err)
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
		s.send(s.client, "request")
		s.halfClose(s.client)
		s.expect(s.endpoint, "request")
		s.expectEOF(s.endpoint)
		s.send(s.endpoint, "answer")
		s.expect(s.client, "answer")
		s.send(s.endpoint, "more")
		s.halfClose(s.endpoint)
		s.expect(s.client, "more")
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
		s.send(s.client, "more")
		s.expect(s.endpoint, "more")
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
			t.Errorf("got report %+v", r)
		}
	}, func(c *tunnel.Config) { c.BufferedFromClient, c.BufferedFromEndpoint = []byte("one"), []byte("un") })
}

func TestExistingDeadlinesAreCleared(t *testing.T) {
	s := openTunnel(t, func(c *tunnel.Config) {
		for _, c := range []net.Conn{c.Client, c.Endpoint} {
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
	var config tunnel.Config
	s.client, config.Client = net.Pipe()
	s.endpoint, config.Endpoint = net.Pipe()
	s.start(config)
	s.client.Close()
	s.expectEOF(s.endpoint)
	s.waitClosed(tunnel.Client, "end")
}

func TestWrapperIsClosedOnce(t *testing.T) {
	var wrapper *transparentConn
	s := openTunnel(t, func(c *tunnel.Config) {
		wrapper = &transparentConn{TCPConn: c.Endpoint.(*net.TCPConn)}
		c.Endpoint = wrapper
	})
	s.client.Close()
	s.endpoint.Close()
	s.waitClosed("", "")
	if n := wrapper.closes.Load(); n != 1 {
		t.Errorf("the wrapper was closed %d times, want once", n)
	}
}

func TestTunnelUsesTwoGoroutines(t *testing.T) {
	const tunnels = 50
	s := openTunnel(t)
	fixtures := []*fixture{s}
	for range tunnels - 1 {
		fixtures = append(fixtures, openTunnel(t))
	}
	for _, s := range fixtures {
		s.send(s.client, "x")
		s.expect(s.endpoint, "x")
	}
	if n := len(goroutines()); n != 2*tunnels {
		t.Errorf("%d goroutines for %d tunnels, want two for each", n, tunnels)
	}
	for _, s := range fixtures {
		s.client.Close()
		s.endpoint.Close()
		s.waitClosed("", "")
	}
	s.expectNoGoroutines()
}
