package link

import (
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// Upgraded is the body of a 101 answer: the connection, which is the caller's to close.
type Upgraded struct {
	io.ReadWriteCloser // net/http's view of it: what was read ahead, then the connection
	conn               *conn
}

// Take returns the connection itself, and what the endpoint has sent right behind its answer. The Upgraded is not to be
// used any more.
func (u *Upgraded) Take() (net.Conn, []byte) {
	// Read gives what was read ahead first. If there is nothing, it must not wait for more.
	_ = u.conn.SetReadDeadline(time.Unix(1, 0))
	ahead := make([]byte, 4096) // the size of net/http's buffer
	n, _ := u.ReadWriteCloser.Read(ahead)
	_ = u.conn.SetReadDeadline(time.Time{})
	if n == 0 {
		return u.conn, nil
	}
	return u.conn, ahead[:n]
}

// CloseWrite ends the direction to the endpoint.
func (u *Upgraded) CloseWrite() error { return u.conn.CloseWrite() }

// upgrade sends a request that asks for another protocol. The body of a 101 is an [*Upgraded].
func upgrade(via *http.Transport, req *http.Request) (*http.Response, error) {
	var used net.Conn
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { used = info.Conn },
	})
	resp, err := via.RoundTrip(req.WithContext(ctx))
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	body, writable := resp.Body.(io.ReadWriteCloser)
	if c, ours := used.(*conn); ours && writable {
		resp.Body = &Upgraded{body, c}
	}
	return resp, nil
}

// Tunnels returns the group of the upgraded connections to the endpoint, to which the caller adds.
func (l *Link) Tunnels() *tunnel.Group { return l.tunnels }

// Counters returns what counts the tunnels and their bytes.
func (l *Link) Counters() *tunnel.Traffic { return &l.traffic }

// Drain closes the tunnels, spread over window.
func (l *Link) Drain(window time.Duration, reason string) { l.tunnels.Drain(window, reason) }

// Resume lets the tunnels that are left stay.
func (l *Link) Resume() { l.tunnels.Resume() }

// Shed closes the tunnels that are open now, spread over window.
func (l *Link) Shed(window time.Duration, reason string) { l.tunnels.Shed(window, reason) }

// Traffic returns the bytes that the tunnels have carried.
func (l *Link) Traffic() registry.Traffic {
	return registry.Traffic{
		FromClients:  uint64(l.traffic.FromClient.Load()),
		FromEndpoint: uint64(l.traffic.FromEndpoint.Load()),
	}
}
