package tunnel_test

import (
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/theworklabs/edge/internal/tunnel"
)

// transparentConn is a wrapper like the ones that dial.
type transparentConn struct {
	*net.TCPConn
	closes atomic.Int32
}

func (b *transparentConn) UnderlyingConn() net.Conn { return b.TCPConn }

func (b *transparentConn) Close() error { b.closes.Add(1); return b.TCPConn.Close() }

// opaqueConn hides what kind of connection it is.
type opaqueConn struct{ net.Conn }

func (o opaqueConn) CloseWrite() error { return o.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// connKinds are the ways in which connections are read.
var connKinds = []struct {
	name string
	wrap func(t *testing.T, s *fixture, e *tunnel.Config)
}{
	{"plain", func(*testing.T, *fixture, *tunnel.Config) {}},
	{"bare", func(_ *testing.T, _ *fixture, e *tunnel.Config) {
		e.Endpoint = &transparentConn{TCPConn: e.Endpoint.(*net.TCPConn)}
	}},
	{"opaque", func(_ *testing.T, _ *fixture, e *tunnel.Config) {
		e.Client, e.Endpoint = opaqueConn{e.Client}, opaqueConn{e.Endpoint}
	}},
	{"tls", func(t *testing.T, s *fixture, e *tunnel.Config) {
		s.client, e.Client = asConns(startTLS(t, s.client, e.Client))
	}},
}

func asConns(a, b *tls.Conn) (x, y net.Conn) { return a, b }

// forEachKind runs a test with every kind of connection.
func forEachKind(t *testing.T, test func(s *fixture), change ...func(*tunnel.Config)) {
	forKinds(t, []string{"plain", "bare", "opaque", "tls"}, test, change...)
}

// forPlainAndTLS runs a test that takes its time with the two kinds that differ most.
func forPlainAndTLS(t *testing.T, test func(s *fixture), change ...func(*tunnel.Config)) {
	forKinds(t, []string{"plain", "tls"}, test, change...)
}

func forKinds(t *testing.T, names []string, test func(s *fixture), change ...func(*tunnel.Config)) {
	for _, kind := range connKinds {
		if !slices.Contains(names, kind.name) {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			s := newFixture(t)
			var ends tunnel.Config
			s.client, ends.Client = tcpPair(t)
			s.endpoint, ends.Endpoint = tcpPair(t)
			kind.wrap(t, s, &ends)
			s.start(ends, change...)
			test(s)
		})
	}
}
