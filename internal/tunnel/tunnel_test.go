package tunnel_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// bare is a wrapper like the ones that dial.
type bare struct {
	*net.TCPConn
	closes atomic.Int32
}

func (b *bare) Bare() net.Conn { return b.TCPConn }

func (b *bare) Close() error { b.closes.Add(1); return b.TCPConn.Close() }

// opaque hides what kind of connection it is.
type opaque struct{ net.Conn }

func (o opaque) CloseWrite() error { return o.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// kinds are the ways in which connections are read.
var kinds = []struct {
	name string
	wrap func(t *testing.T, s *stage, e *tunnel.Ends)
}{
	{"plain", func(*testing.T, *stage, *tunnel.Ends) {}},
	{"bare", func(_ *testing.T, _ *stage, e *tunnel.Ends) { e.Endpoint = &bare{TCPConn: e.Endpoint.(*net.TCPConn)} }},
	{"opaque", func(_ *testing.T, _ *stage, e *tunnel.Ends) {
		e.Client, e.Endpoint = opaque{e.Client}, opaque{e.Endpoint}
	}},
	{"tls", func(t *testing.T, s *stage, e *tunnel.Ends) {
		s.client, e.Client = asConns(secure(t, s.client, e.Client))
	}},
}

func asConns(a, b *tls.Conn) (x, y net.Conn) { return a, b }

// each runs a test with every kind of connection.
func each(t *testing.T, test func(s *stage), change ...func(*tunnel.Ends)) {
	eachOf(t, []string{"plain", "bare", "opaque", "tls"}, test, change...)
}

// plainAndTLS runs a test that takes its time with the two kinds that differ most.
func plainAndTLS(t *testing.T, test func(s *stage), change ...func(*tunnel.Ends)) {
	eachOf(t, []string{"plain", "tls"}, test, change...)
}

func eachOf(t *testing.T, names []string, test func(s *stage), change ...func(*tunnel.Ends)) {
	for _, kind := range kinds {
		if !slices.Contains(names, kind.name) {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			s := newStage(t)
			var ends tunnel.Ends
			s.client, ends.Client = connect(t)
			s.endpoint, ends.Endpoint = connect(t)
			kind.wrap(t, s, &ends)
			s.start(ends, change...)
			test(s)
		})
	}
}

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

// bundle holds writes back, so that several TLS records travel in one segment.
type bundle struct {
	net.Conn
	held bytes.Buffer
	hold bool
}

func (b *bundle) Write(p []byte) (int, error) {
	if b.hold {
		return b.held.Write(p)
	}
	return b.Conn.Write(p)
}

func TestRecordsThatWereReadAheadDoNotStall(t *testing.T) {
	for _, size := range []int{1, 100, 511, 512, 513, 1024, 16 << 10} {
		s := newStage(t)
		var ends tunnel.Ends
		far, near := connect(t)
		wire := &bundle{Conn: far}
		s.client, ends.Client = asConns(secure(t, wire, near))
		s.endpoint, ends.Endpoint = connect(t)
		s.start(ends)
		wire.hold = true
		const records = 9
		for i := range records {
			s.says(s.client, strings.Repeat(string(rune('a'+i)), size))
		}
		wire.hold = false
		s.says(wire, wire.held.String())
		for i := range records { // and nothing follows
			s.hears(s.endpoint, strings.Repeat(string(rune('a'+i)), size))
		}
		s.client.Close()
		s.endpoint.Close()
		s.over("", "")
	}
}

func TestASlowReaderStopsTheWriter(t *testing.T) {
	each(t, func(s *stage) {
		for _, way := range [][2]net.Conn{{s.client, s.endpoint}, {s.endpoint, s.client}} {
			if err := way[0].SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			const chunk, most = 64 << 10, 64 << 20
			taken := 0
			var err error
			for err == nil && taken < most {
				var n int
				n, err = way[0].Write(make([]byte, chunk))
				taken += n
			}
			if err == nil {
				t.Errorf("%d bytes were taken although nobody reads them", taken)
			}
		}
		s.client.Close()
		s.endpoint.Close()
		s.over("", "")
	})
}

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
	s.client.Close()
	if r := s.over(tunnel.Endpoint, ""); r.FromClient != 0 || r.FromEndpoint != 5 {
		t.Errorf("got %+v", r)
	}
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
