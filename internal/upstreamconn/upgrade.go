package upstreamconn

import (
	"io"
	"net"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// UpgradedConn is the body of a 101 response: the connection, which the caller must close.
type UpgradedConn struct{ *conn }

// isUpgrade reports whether the request asks for another protocol.
func (a *Attempt) isUpgrade() bool { return a.header().Get("Upgrade") != "" }

// Read returns the bytes that were read ahead first, then reads from the connection.
func (u *UpgradedConn) Read(p []byte) (int, error) { return u.reader.Read(p) }

// Hijack returns the connection itself, and the bytes that the endpoint sent right after its response. The UpgradedConn must
// not be used any more.
func (u *UpgradedConn) Hijack() (net.Conn, []byte) {
	defer u.conn.forgetRequests()
	n := u.reader.Buffered()
	if n == 0 {
		return u.conn, nil
	}
	ahead := make([]byte, n)
	_, _ = io.ReadFull(u.reader, ahead) // the bytes are in memory
	return u.conn, ahead
}

// Tunnels returns the group of the endpoint's tunnels. The caller adds upgraded connections to it.
func (c *Conns) Tunnels() *tunnel.Group { return c.tunnels }

// TrafficCounters returns the counters of the tunnels and their bytes.
func (c *Conns) TrafficCounters() *tunnel.Traffic { return &c.traffic }

// Drain closes the tunnels, spread over window, and those that open later. reason is for the access log.
func (c *Conns) Drain(window time.Duration, reason string) { c.tunnels.Drain(window, reason) }

// Resume ends a drain: the tunnels that are still open stay open.
func (c *Conns) Resume() { c.tunnels.Resume() }

// CloseExisting closes the tunnels that are open now, spread over window.
func (c *Conns) CloseExisting(window time.Duration, reason string) {
	c.tunnels.CloseExisting(window, reason)
}

// Traffic returns how many bytes the tunnels have carried.
func (c *Conns) Traffic() registry.Traffic {
	return registry.Traffic{
		FromClients:  uint64(c.traffic.FromClient.Load()),
		FromEndpoint: uint64(c.traffic.FromEndpoint.Load()),
	}
}
