// Package tunnel carries upgraded connections: it copies both ways, counts, and closes many of them in waves.
//
// An idle tunnel is what an edge has most of, so it costs two goroutines with small stacks and no buffer.
package tunnel

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameTimeout is how long a tunnel that is being closed waits for the end of a frame that has begun.
	frameTimeout = 2 * time.Second
	// replyTimeout is how long the two ends have to say their last words, once it is known that it is over.
	replyTimeout = time.Second
)

// Config are the two connections of an upgrade, after the 101 was sent.
type Config struct {
	// Client and Endpoint are closed by the tunnel. A connection that is a *net.TCPConn or *net.UnixConn, or is [TransparentConn],
	// costs no buffer while it is idle; any other, such as a *tls.Conn, costs half a KiB. Deadlines that were left on
	// them are cleared.
	Client, Endpoint net.Conn

	// BufferedFromClient and BufferedFromEndpoint are what was read already of what either side sent right behind the handshake.
	// They are passed on first.
	BufferedFromClient, BufferedFromEndpoint []byte

	// WebSocket says that both sides speak RFC 6455, so that a close frame can tell them why it is over.
	WebSocket bool

	// IdleTimeout is after how long without a byte in either direction the tunnel is closed. 0 means never.
	IdleTimeout time.Duration

	// Traffic counts the tunnel and its bytes. It may be shared, and may be nil.
	Traffic *Traffic

	// OnClose is called once, when both connections are closed. It may be nil. The group waits for it to return.
	OnClose func(Report)
}

// Who ended a tunnel.
const (
	Client   = "client"
	Endpoint = "endpoint"
	Edge     = "edge"
)

// Report is what there is to say about a tunnel that is over.
type Report struct {
	Duration time.Duration

	// BufferedFromClient and BufferedFromEndpoint are the bytes that were passed on, without close frames of the edge's own.
	FromClient, FromEndpoint int64

	// ClosedBy is who ended it: whose end, error or close frame came first.
	ClosedBy string

	// Reason is "end" or "close frame", or an error's text, of a client or an endpoint; what [Group.Drain] was given,
	// "idle" or "cut", of the edge.
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
	activeDirections atomic.Int32 // directions that are not over

	mu               sync.Mutex
	closing          bool // closedBy the edge, or it is over
	closedBy, reason string
}

// newTunnel returns a tunnel that does not copy yet.
func newTunnel(g *Group, ends Config) *tunnel {
	t := &tunnel{
		group: g, websocket: ends.WebSocket, traffic: ends.Traffic, onClose: ends.OnClose, startedAt: time.Now(),
	}
	// What fails on a connection that is broken already, the first read will tell.
	_ = ends.Client.SetDeadline(time.Time{})
	_ = ends.Endpoint.SetDeadline(time.Time{})
	t.client.setup(ends.Client, Client, &t.down)
	t.endpoint.setup(ends.Endpoint, Endpoint, &t.up)
	t.up.setup(t, &t.client, &t.endpoint, ends.BufferedFromClient)
	t.down.setup(t, &t.endpoint, &t.client, ends.BufferedFromEndpoint)
	if ends.IdleTimeout > 0 {
		t.idle = newIdleTimer(ends.IdleTimeout, t)
	}
	return t
}

// start begins to copy.
func (t *tunnel) start() {
	t.activeDirections.Store(2)
	go t.up.run()
	go t.down.run()
}

// close has both directions say farewell: after the frame that they are in, if it ends within the patience. It does
// not wait for that. It reports whether this was news; if not, it can only make it happen sooner.
func (t *tunnel) close(reason string, patience time.Duration) bool {
	t.recordCause(Edge, reason)
	until := time.Now().Add(patience + replyTimeout)
	t.down.deadline.requestClose(until)
	t.up.deadline.requestClose(until)
	t.mu.Lock()
	defer t.mu.Unlock()
	news := !t.closing
	t.closing = true
	return news
}

// recordCause notes who ended the tunnel. What others say later is only the consequence.
func (t *tunnel) recordCause(by, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closedBy == "" {
		t.closedBy, t.reason = by, reason
	}
}

// directionDone is called by each direction when it is done with both connections.
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
