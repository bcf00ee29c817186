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

func TestBothWaysAreCopiedAndCounted(t *testing.T) {
	each(t, func(s *stage) {
		s.says(s.client, "ping")
		s.hears(s.endpoint, "ping")
		s.says(s.endpoint, "pong!")
		s.hears(s.client, "pong!")
		live := s.traffic.Parent // of the service
		counted := func() [3]int64 {
			return [3]int64{live.Sockets.Load(), live.FromClient.Load(), live.FromEndpoint.Load()}
		}
		want := [3]int64{1, 4, 5}
		s.until(func() bool { return counted() == want }, func() any { return counted() })
		s.halfClose(s.client)
		s.hearsEnd(s.endpoint)
		s.endpoint.Close()
		s.hearsEnd(s.client)
		r := s.over(tunnel.Client, "end")
		if r.FromClient != 4 || r.FromEndpoint != 5 || r.Duration <= 0 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestMuchIsCopiedUnchanged(t *testing.T) {
	for _, size := range []int{511, 512, 513, 1024, 16 << 10, 32 << 10, 32<<10 + 512, 5 << 20} {
		each(t, func(s *stage) {
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
			s.over("", "")
		})
	}
}

func TestOneSideMayEndBeforeTheOther(t *testing.T) {
	each(t, func(s *stage) {
		s.says(s.client, "all I have")
		s.halfClose(s.client)
		s.hears(s.endpoint, "all I have")
		s.hearsEnd(s.endpoint)
		s.says(s.endpoint, "the answer")
		s.hears(s.client, "the answer")
		s.says(s.endpoint, "and more")
		s.halfClose(s.endpoint)
		s.hears(s.client, "and more")
		s.hearsEnd(s.client)
		s.over(tunnel.Client, "end")
	})
}

func TestTheEndpointMayEndFirst(t *testing.T) {
	each(t, func(s *stage) {
		s.says(s.endpoint, "bye")
		s.halfClose(s.endpoint)
		s.hears(s.client, "bye")
		s.hearsEnd(s.client)
		s.says(s.client, "just one more thing")
		s.hears(s.endpoint, "just one more thing")
		s.client.Close()
		s.hearsEnd(s.endpoint)
		s.over(tunnel.Endpoint, "end")
	})
}

func TestWhatCameBehindTheHandshakeComesFirst(t *testing.T) {
	each(t, func(s *stage) {
		s.says(s.client, "two")
		s.says(s.endpoint, "deux")
		s.hears(s.endpoint, "onetwo")
		s.hears(s.client, "undeux")
		s.client.Close()
		s.endpoint.Close()
		if r := s.over("", ""); r.FromClient != 6 || r.FromEndpoint != 6 {
			t.Errorf("got %+v", r)
		}
	}, func(e *tunnel.Ends) { e.FromClient, e.FromEndpoint = []byte("one"), []byte("un") })
}

func TestDeadlinesThatWereLeftBehindEndNothing(t *testing.T) {
	s := open(t, func(e *tunnel.Ends) {
		for _, c := range []net.Conn{e.Client, e.Endpoint} {
			if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.says(s.client, "ping")
	s.hears(s.endpoint, "ping")
	s.says(s.endpoint, "pong")
	s.hears(s.client, "pong")
	s.client.Close()
	s.endpoint.Close()
	s.over("", "")
}

func TestWhatOnlyClosesWholeIsClosedWhole(t *testing.T) {
	s := newStage(t)
	var ends tunnel.Ends
	s.client, ends.Client = net.Pipe()
	s.endpoint, ends.Endpoint = net.Pipe()
	s.start(ends)
	s.client.Close()
	s.hearsEnd(s.endpoint)
	s.over(tunnel.Client, "end")
}

func TestAWrapperIsClosedOnce(t *testing.T) {
	var wrapper *bare
	s := open(t, func(e *tunnel.Ends) {
		wrapper = &bare{TCPConn: e.Endpoint.(*net.TCPConn)}
		e.Endpoint = wrapper
	})
	s.client.Close()
	s.endpoint.Close()
	s.over("", "")
	if n := wrapper.closes.Load(); n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestATunnelNeedsTwoGoroutines(t *testing.T) {
	const tunnels = 50
	s := open(t)
	stages := []*stage{s}
	for range tunnels - 1 {
		stages = append(stages, open(t))
	}
	for _, s := range stages {
		s.says(s.client, "x")
		s.hears(s.endpoint, "x")
	}
	if n := len(goroutines()); n != 2*tunnels {
		t.Errorf("%d goroutines for %d tunnels", n, tunnels)
	}
	for _, s := range stages {
		s.client.Close()
		s.endpoint.Close()
		s.over("", "")
	}
	s.noneLeft()
}
