package tunnel_test

import (
	"crypto/tls"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/theworklabs/edge/internal/tunnel"
)

// transparentConn is a wrapper like the upstream connections of the edge.
type transparentConn struct {
	*net.TCPConn
	closes atomic.Int32
}

func (c *transparentConn) UnderlyingConn() net.Conn { return c.TCPConn }

func (c *transparentConn) Close() error { c.closes.Add(1); return c.TCPConn.Close() }

// opaqueConn hides what kind of connection it is.
type opaqueConn struct{ net.Conn }

func (o opaqueConn) CloseWrite() error { return o.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// connKinds are the kinds of connections that the tunnel reads differently.
var connKinds = []struct {
	name string
	wrap func(t *testing.T, s *fixture, c *tunnel.Config)
}{
	{"plain", func(*testing.T, *fixture, *tunnel.Config) {}},
	{"transparent", func(_ *testing.T, _ *fixture, c *tunnel.Config) {
		c.Endpoint = &transparentConn{TCPConn: c.Endpoint.(*net.TCPConn)}
	}},
	{"opaque", func(_ *testing.T, _ *fixture, c *tunnel.Config) {
		c.Client, c.Endpoint = opaqueConn{c.Client}, opaqueConn{c.Endpoint}
	}},
	{"tls", func(t *testing.T, s *fixture, c *tunnel.Config) {
		s.client, c.Client = asConns(startTLS(t, s.client, c.Client))
	}},
}

func asConns(a, b *tls.Conn) (x, y net.Conn) { return a, b }

// forEachKind runs a test with every kind of connection.
func forEachKind(t *testing.T, test func(s *fixture), change ...func(*tunnel.Config)) {
	forKinds(t, []string{"plain", "transparent", "opaque", "tls"}, test, change...)
}

// forPlainAndTLS runs a slow test with the two kinds that differ most.
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
			var config tunnel.Config
			s.client, config.Client = tcpPair(t)
			s.endpoint, config.Endpoint = tcpPair(t)
			kind.wrap(t, s, &config)
			s.start(config, change...)
			test(s)
		})
	}
}
