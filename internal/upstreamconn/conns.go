// Package upstreamconn keeps the HTTP/1.1 connections to one endpoint.
//
// Every endpoint has its own connections, because Docker gives a freed address to the next container at once: a pool by
// address could send one application's requests to another.
package upstreamconn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

const (
	// idleConnTimeout is how long an idle connection is kept for the next request. Node closes its side after 5 s, and
	// the outcome of a request on a connection that is being closed is unknown.
	idleConnTimeout = 3 * time.Second
	maxIdleConns    = 512

	// expectContinueTimeout is how long a body with `Expect: 100-continue` waits for the endpoint's reaction. An endpoint
	// that rejects the body does so at once, and one that ignores the header must not delay its clients by a second.
	expectContinueTimeout = 100 * time.Millisecond

	// bufferSize holds the head of most requests and responses. A longer one costs one more system call for each 2 KiB, and only
	// the start of a body passes the buffers. A connection keeps both while its request waits for a response.
	bufferSize = 2 << 10

	// DefaultDialTimeout is the longest time for a connect within the host's own networks.
	DefaultDialTimeout = 3 * time.Second
)

// keepAlive detects a dead peer within seconds. A container that is removed takes its network namespace with it, so that
// the FIN of its connections may be lost. The kernel of a paused container still answers the probes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// Conns is the connections to one endpoint. It is safe for concurrent use.
type Conns struct {
	addr               string
	pooledTransport    *http.Transport // for requests that can be sent again if a reused connection turns out to be closed
	singleUseTransport *http.Transport // for all others: each request gets its own connection

	ctx    context.Context // done after Close: from then on, the address may be another container's
	cancel context.CancelFunc

	tunnels *tunnel.Group
	traffic tunnel.Traffic

	mu    sync.Mutex
	conns map[*conn]struct{} // open connections
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
	c.pooledTransport = &http.Transport{
		DialContext:           c.dial,
		DisableCompression:    true,
		MaxIdleConns:          maxIdleConns,
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       idleConnTimeout,
		ExpectContinueTimeout: expectContinueTimeout,
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
	}
	c.singleUseTransport = c.pooledTransport.Clone()
	// Not DisableKeepAlives, which asks the endpoint to close the connection: Node then closes it without reading the rest
	// of a body that it rejects, and the response is lost.
	c.singleUseTransport.MaxIdleConnsPerHost = -1
	return c
}

// Send sends a request that [Prepare] returned to the endpoint, whatever the host of its URL is, and returns the head of the
// response. It makes one attempt, and changes the request. The body of a 101 response is an [*UpgradedConn] if the request asked
// for an upgrade.
//
// A [*DialError] or an [*InvalidRequestError] means that nothing was sent. A [*ReusedConnError] means that the request can
// be tried once more on a new connection ([Options]). [IsMalformed] tells whether the endpoint responded with something
// that is not HTTP, or did not respond.
//
// A request that can't be sent again, because of its method or its body, never uses a reused connection: the endpoint may
// close that connection at the same instant, and the outcome of the request would be unknown.
func (c *Conns) Send(req *http.Request) (*http.Response, error) {
	target := *req.URL
	target.Scheme, target.Host = "http", c.addr
	req.URL = &target
	if req.Header.Get("Upgrade") != "" {
		return c.upgrade(req)
	}
	a := attemptOf(req.Context())
	via := c.pooledTransport
	if !a.canReuseConn(req) {
		via = c.singleUseTransport
	}
	disableRetry(req)
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, a.wrapError(err)
	}
	return resp, nil
}

// Check returns nil if the endpoint accepts a connection, which it then closes, or a [*DialError].
func (c *Conns) Check(ctx context.Context) error {
	conn, err := c.dialWithin(ctx, "tcp", DefaultDialTimeout)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Close lets requests in flight finish, dials no more, and closes idle connections. It may be called more than once.
func (c *Conns) Close() {
	c.cancel()
	c.pooledTransport.CloseIdleConnections()
	c.singleUseTransport.CloseIdleConnections()
}

// Abort closes all connections, with the requests and the tunnels on them.
func (c *Conns) Abort() {
	c.tunnels.Abort() // first, so that the tunnels report the edge as the side that closed them
	c.mu.Lock()
	conns := make([]*conn, 0, len(c.conns))
	for open := range c.conns {
		conns = append(conns, open)
	}
	c.mu.Unlock()
	for _, open := range conns {
		_ = open.Close() // it may be closed already
	}
	c.pooledTransport.CloseIdleConnections() // or the next request could be sent on one of them
}

func (c *Conns) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return c.dialWithin(ctx, network, attemptOf(ctx).DialTimeout)
}

func (c *Conns) dialWithin(ctx context.Context, network string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	raw, err := (&net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive}).DialContext(ctx, network, c.addr)
	if err != nil {
		if c.ctx.Err() != nil {
			err = errRemoved // instead of "operation was canceled", which would look like the client's doing
		}
		return nil, &DialError{c.addr, err}
	}
	dialed := &conn{Conn: raw, owner: c, closed: make(chan struct{})}
	if !c.register(dialed) {
		_ = raw.Close() // the address may be another container's by now
		return nil, &DialError{c.addr, errRemoved}
	}
	return dialed, nil
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

// conn is a connection that its owner can abort.
type conn struct {
	net.Conn
	owner  *Conns
	once   sync.Once
	closed chan struct{}
}

// Write sends bytes. An endpoint that rejects a request before it has read all of it, such as an upload that is too large,
// responds and closes the connection. The response can still be read then, but net/http would drop it because of the failed
// write. So a write to a closed connection fails only after Close, which net/http calls when it has read the response or
// the end of the connection.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		<-c.closed
	}
	return n, err
}

// UnderlyingConn returns the wrapped connection, for tunnels.
func (c *conn) UnderlyingConn() net.Conn { return c.Conn }

// CloseWrite closes the direction to the endpoint, as an upgraded connection may.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection and removes it from its owner.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.owner.mu.Lock()
		delete(c.owner.conns, c)
		c.owner.mu.Unlock()
	})
	return c.Conn.Close()
}

var (
	_ registry.Conns         = (*Conns)(nil)
	_ tunnel.TransparentConn = (*conn)(nil)
)
