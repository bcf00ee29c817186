// Package tunnel copies the bytes of upgraded connections in both directions, counts them, and closes groups of such
// connections over a time window.
//
// Most tunnels of an edge are idle, so an idle tunnel costs two goroutines with small stacks and no buffer.
package tunnel

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameTimeout is how long a tunnel that is being closed waits for the end of an unfinished frame.
	frameTimeout = 2 * time.Second
	// replyTimeout is how long a peer has to answer a close frame and to take the bytes that are on their way to it.
	replyTimeout = time.Second
)

// Config describes a tunnel: the two connections of an upgrade, after the 101 was sent, and how to treat them.
type Config struct {
	// Client and Endpoint are closed by the tunnel. An idle connection that is a *net.TCPConn, a *net.UnixConn or a
	// [TransparentConn] holds no buffer; any other, such as a *tls.Conn, holds half a KiB. The tunnel clears deadlines that
	// are set on them.
	Client, Endpoint net.Conn

	// BufferedFromClient and BufferedFromEndpoint are the bytes that each side sent right behind the handshake and that
	// have been read already. They are forwarded first.
	BufferedFromClient, BufferedFromEndpoint []byte

	// WebSocket says that both sides speak RFC 6455, so that the tunnel can send close frames.
	WebSocket bool

	// IdleTimeout is how long the tunnel stays open without a byte in either direction. 0 means without limit.
	IdleTimeout time.Duration

	// Traffic counts the tunnel and its bytes. It may be shared, and may be nil.
	Traffic *Traffic

	// OnClose is called once, after both connections have been closed. It may be nil. [Group.Wait] waits for it to return.
	OnClose func(Report)
}

// The values of [Report.ClosedBy].
const (
	Client   = "client"
	Endpoint = "endpoint"
	Edge     = "edge"
)

// Report describes a tunnel that has closed.
type Report struct {
	Duration time.Duration

	// FromClient and FromEndpoint are the bytes that were forwarded. Close frames that the edge sent itself do not count.
	FromClient, FromEndpoint int64

	// ClosedBy is the side whose EOF, error or close frame came first.
	ClosedBy string

	// Reason is "end" (EOF), "close frame" or an error's text if a client or an endpoint closed the tunnel. If the edge
	// did, it is the reason that was given to [Group.Drain] or [Group.CloseExisting], "idle", or "cut" for [Group.Abort].
	Reason string
}

// tunnel is one pair of connections.
type tunnel struct {
	client, endpoint peer
	up, down         direction // from the client, and to it
	websocket        bool
	group            *Group
	traffic          *Traffic
	onClose          func(Report)
	startedAt        time.Time
	idle             *idleTimer
	activeDirections atomic.Int32

	mu               sync.Mutex
	closing          bool // the edge closes the tunnel, or it has closed
	closedBy, reason string
}

// newTunnel returns a tunnel that does not copy yet.
func newTunnel(g *Group, config Config) *tunnel {
	t := &tunnel{
		group: g, websocket: config.WebSocket, traffic: config.Traffic, onClose: config.OnClose, startedAt: time.Now(),
	}
	// If a connection is broken already, the first read reports it.
	_ = config.Client.SetDeadline(time.Time{})
	_ = config.Endpoint.SetDeadline(time.Time{})
	t.client.setup(config.Client, Client, &t.down)
	t.endpoint.setup(config.Endpoint, Endpoint, &t.up)
	t.up.setup(t, &t.client, &t.endpoint, config.BufferedFromClient)
	t.down.setup(t, &t.endpoint, &t.client, config.BufferedFromEndpoint)
	if config.IdleTimeout > 0 {
		t.idle = newIdleTimer(config.IdleTimeout, t)
	}
	return t
}

// start starts the goroutines of both directions.
func (t *tunnel) start() {
	t.activeDirections.Store(2)
	go t.up.run()
	go t.down.run()
}

// close makes both directions send a close frame, after the frame that they are forwarding if that ends within frameWait.
// It does not wait for them. It reports whether the tunnel was open until now; a further call can only shorten the time.
func (t *tunnel) close(reason string, frameWait time.Duration) bool {
	t.recordCause(Edge, reason)
	t.mu.Lock()
	wasOpen := !t.closing // before the directions are told: they may end at once
	t.closing = true
	t.mu.Unlock()
	limit := time.Now().Add(frameWait + replyTimeout)
	t.down.deadline.requestClose(limit)
	t.up.deadline.requestClose(limit)
	return wasOpen
}

// recordCause records which side closed the tunnel and why. Only the first call counts: later ones report consequences.
func (t *tunnel) recordCause(by, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closedBy == "" {
		t.closedBy, t.reason = by, reason
	}
}

// directionDone is called by each direction when it no longer uses the connections.
func (t *tunnel) directionDone() {
	if t.activeDirections.Add(-1) > 0 {
		return
	}
	if t.idle != nil {
		t.idle.stop()
	}
	t.mu.Lock()
	t.closing = true
	report := Report{
		Duration: time.Since(t.startedAt), FromClient: t.up.copied, FromEndpoint: t.down.copied, ClosedBy: t.closedBy, Reason: t.reason,
	}
	t.mu.Unlock()
	t.traffic.closed()
	if t.onClose != nil {
		t.onClose(report)
	}
	t.group.remove(t)
}
