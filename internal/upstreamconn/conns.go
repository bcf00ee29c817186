// Package upstreamconn keeps the HTTP/1.1 connections to one endpoint.
//
// Every endpoint has its own connections, because Docker gives a freed address to the next container at once: a pool by
// address could send one application's requests to another.
package upstreamconn

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

const (
	// bufferSize holds the head of most responses. A longer one costs one more system call for each 2 KiB, and only the start of a body passes
	// the buffer. A connection keeps it while its request waits for a response.
	bufferSize = 2 << 10

	// DefaultDialTimeout is the longest time for a connect within the host's own networks.
	DefaultDialTimeout = 3 * time.Second
)

// Conns is the connections to one endpoint. It is safe for concurrent use.
type Conns struct {
	addr    string
	connect func(ctx context.Context, timeout time.Duration) (net.Conn, error)

	ctx    context.Context // done after Close: from then on, the address may be another container's
	cancel context.CancelFunc

	tunnels   *tunnel.Group
	traffic   tunnel.Traffic
	isAborted atomic.Bool

	mu     sync.Mutex
	conns  map[*conn]struct{} // open connections
	idle   []*conn            // those of them that no request uses, the oldest first
	reaper *time.Timer        // closes them; nil: there was none yet
}

// Opener returns a function that opens the connections of an endpoint. Their tunnels belong to the group too; nil is no
// group.
func Opener(tunnels *tunnel.Group) func(addr string) registry.Conns {
	return func(addr string) registry.Conns { return open(addr, tunnels) }
}

// Of returns the connections of an endpoint whose registry opens them with an [Opener] or with [Open].
func Of(e *registry.Endpoint) *Conns { return e.Conns().(*Conns) }

// Open returns the connections to an address ("172.18.0.7:3000"). It dials only when there is a request to send.
func Open(addr string) registry.Conns { return open(addr, nil) }

func open(addr string, parent *tunnel.Group) *Conns {
	c := &Conns{addr: addr, conns: make(map[*conn]struct{}), tunnels: tunnel.NewGroup(parent)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.connect = c.dialTCP
	return c
}

// Send sends a request to the endpoint, whatever the host of its URL is, and returns the head of the response. It makes one attempt. The body
// of a 101 response is an [*UpgradedConn] if the request asked for an upgrade.
//
// A [*DialError] or an [*InvalidRequestError] means that nothing was sent. A [*ReusedConnError] means that the request can
// be tried once more on a new connection. [IsMalformed] tells whether the endpoint responded with something
// that is not HTTP, or did not respond.
//
// Unless ReuseAll is set, a request that can't be sent again, because of its method or its body, never uses a reused connection: the endpoint may
// close that connection at the same instant, and the outcome of the request would be unknown.
func (c *Conns) Send(a *Attempt) (*http.Response, error) {
	a.begin()
	defer a.end()
	head := headBuffers.Get().(*buffer)
	var err error
	if head.bytes, err = a.appendHead(head.bytes[:0]); err != nil {
		return nil, &InvalidRequestError{err}
	}
	call, err := c.connFor(a)
	if err != nil {
		head.release()
		if ended := ended(a.Context); ended != nil {
			return nil, ended // which says nothing about the endpoint
		}
		return nil, err
	}
	return call.do(head)
}

// ended returns why a context has ended, or will have at once: a connect that ends with the deadline of its context may do so a little before.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// connFor returns a call on an idle connection if the request may use one, or on a new one.
func (c *Conns) connFor(a *Attempt) (*call, error) {
	limit := maxIdleSingleUse
	if a.canReuseConn() && !a.isUpgrade() {
		limit = maxIdleConns
		if idle := c.takeIdle(); idle != nil {
			a.connected(true)
			return &call{Attempt: a, conn: idle, limit: limit}, nil
		}
	}
	dialed, err := c.dial(a.Context, a.DialTimeout)
	if err != nil {
		return nil, err
	}
	a.connected(false)
	return &call{Attempt: a, conn: dialed, limit: limit}, nil
}

// Check returns nil if the endpoint accepts a connection, which it then closes, or a [*DialError].
func (c *Conns) Check(ctx context.Context) error {
	conn, err := c.dial(ctx, 0)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Close lets requests in flight finish, dials no more, and closes idle connections. It may be called more than once.
func (c *Conns) Close() {
	c.cancel()
	c.closeIdle()
}

// Abort closes all connections, with the requests and the tunnels on them.
func (c *Conns) Abort() {
	c.tunnels.Abort() // first, so that the tunnels report the edge as the side that closed them
	c.isAborted.Store(true)
	c.mu.Lock()
	conns := make([]*conn, 0, len(c.conns))
	for open := range c.conns {
		conns = append(conns, open)
	}
	c.idle = nil
	c.mu.Unlock()
	closeAll(conns)
}

// dial opens a connection; a timeout of 0 is DefaultDialTimeout.
func (c *Conns) dial(ctx context.Context, timeout time.Duration) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	raw, err := c.connect(ctx, cmp.Or(timeout, DefaultDialTimeout))
	if err != nil {
		if c.ctx.Err() != nil {
			err = errRemoved // instead of "operation was canceled", which would look like the client's doing
		}
		return nil, &DialError{c.addr, err}
	}
	dialed := newConn(raw, c)
	if !c.register(dialed) {
		_ = raw.Close() // the address may be another container's by now
		return nil, &DialError{c.addr, errRemoved}
	}
	return dialed, nil
}

func (c *Conns) dialTCP(ctx context.Context, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive, Control: func(_, _ string, raw syscall.RawConn) error {
		setSilenceTimeout(raw, silenceTimeout)
		return nil
	}}
	return dialer.DialContext(ctx, "tcp", c.addr)
}

// register adds a connection to those that Abort closes. It returns false after Close.
func (c *Conns) register(dialed *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.conns[dialed] = struct{}{}
	return true
}

var _ registry.Conns = (*Conns)(nil)
