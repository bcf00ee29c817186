package tunnel_test

import (
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"testing"

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
