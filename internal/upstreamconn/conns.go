// Package upstreamconn keeps the HTTP/1.1 connections to one endpoint.
//
// Every endpoint has connections of its own, because Docker gives a freed address to the next container at once: a
// pool by address would send one application's requests to another.
package upstreamconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

const (
	// idleConnTimeout is how long a connection is kept for the next request. Node closes its side after 5 s, and a request
	// on a connection that is being closed has no sure outcome.
	idleConnTimeout = 3 * time.Second
	maxIdleConns    = 512

	// expectContinueTimeout is how long a body with `Expect: 100-continue` is held back for the endpoint's reaction. An endpoint that
	// refuses it does so at once, and one that ignores the header must not cost its clients a second.
	expectContinueTimeout = 100 * time.Millisecond

	// DefaultDialTimeout bounds a connect within the host's own networks.
	DefaultDialTimeout = 3 * time.Second
)

// keepAlive finds out within seconds that nothing answers at the other end any more: a container that is removed takes its
// network namespace with it, and the FIN of its connections may be lost there. A paused container's kernel still answers.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// Conns is the connections to one endpoint. It is safe for concurrent use.
type Conns struct {
	addr               string
	pooledTransport    *http.Transport // for requests that can be sent again when a kept connection turns out to be closed
	singleUseTransport *http.Transport // for those that can't: each gets a connection of its own

	ctx    context.Context // ends with Close: the address may be another container's from then on
	cancel context.CancelFunc

	tunnels *tunnel.Group
	traffic tunnel.Traffic

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// Opener returns what opens links whose tunnels belong to a group too; nil is none.
func Opener(tunnels *tunnel.Group) func(addr string) registry.Conns {
	return func(addr string) registry.Conns { return open(addr, tunnels) }
}

// Open returns the link to an address. It dials when there is something to send.
func Open(addr string) registry.Conns { return open(addr, nil) }

func open(addr string, parent *tunnel.Group) *Conns {
	l := &Conns{addr: addr, conns: make(map[*conn]struct{}), tunnels: tunnel.NewGroup(parent)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.pooledTransport = &http.Transport{
		DialContext:           l.dial,
		DisableCompression:    true,
		MaxIdleConns:          maxIdleConns,
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       idleConnTimeout,
		ExpectContinueTimeout: expectContinueTimeout,
	}
	l.singleUseTransport = l.pooledTransport.Clone()
	// Not DisableKeepAlives, which asks the endpoint to close the connection: Node then closes it without reading the rest of
	// a body that it refuses, and the answer is lost.
	l.singleUseTransport.MaxIdleConnsPerHost = -1
	return l
}

// Send sends a request to the endpoint, whatever its URL's host is, and returns the answer's head. A [*DialError]
// means that nothing was sent, a [*ReusedConnError] that the request can be tried once more on a new connection ([WithNewConn]). It is
// sent once in any case. The body of a 101 is an [*UpgradedConn] if the request asked for an upgrade. [IsMalformed] tells
// errors of an answer that came from those of an answer that did not come.
//
// A request that can't be sent again, by its method or its body, never travels on a kept connection: the endpoint may close
// that at the same instant, and nobody would know what became of the request.
func (l *Conns) Send(req *http.Request) (*http.Response, error) {
	target := *req.URL
	target.Scheme, target.Host = "http", l.addr
	out := *req
	out.URL = &target
	if req.Header.Get("Upgrade") != "" {
		return l.upgrade(&out)
	}
	via := l.pooledTransport
	if !isReplayable(req) || req.Context().Value(newConnKey{}) != nil {
		via = l.singleUseTransport
	}
	var a attempt
	resp, err := via.RoundTrip(disableRetry(a.trace(&out)))
	if err != nil {
		return nil, a.wrapError(err)
	}
	return resp, nil
}

// attempt is what net/http does with one request.
type attempt struct {
	reused  atomic.Bool // it has the request on a connection that was used before
	written atomic.Bool // it has begun to write the request
}

// trace returns the request with what notes that.
func (a *attempt) trace(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:      func(info httptrace.GotConnInfo) { a.reused.Store(info.Reused) },
		WroteHeaders: func() { a.written.Store(true) },
	}))
}

// wrapError returns the error of the attempt with what it means.
func (a *attempt) wrapError(err error) error {
	_, unsent := errors.AsType[*DialError](err)
	switch {
	case unsent || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case isConnError(err):
		if a.reused.Load() {
			return &ReusedConnError{err}
		}
		return err
	case !a.written.Load():
		return &InvalidRequestError{err}
	}
	return err
}

// disableRetry returns the request in a shape that net/http sends once only, unless nothing of it was written. It would send some
// requests again by itself, on one kept connection after the other, and then dial: a request that ends its container would go
// out many times, and the error would say that it could not be sent.
func disableRetry(req *http.Request) *http.Request { // it is the caller's own copy
	req.GetBody = nil
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		if req.Body == nil || req.Body == http.NoBody {
			// A body without bytes, which can't be had again. With this encoding net/http writes no header about it.
			req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(nil)), 0, []string{"identity"}
		}
	}
	return req
}

// InvalidRequestError is a request that can't be sent as it is, such as one with a line break in a header. Nothing was sent.
type InvalidRequestError struct{ Err error }

// Error says what is wrong with the request.
func (e *InvalidRequestError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the request.
func (e *InvalidRequestError) Unwrap() error { return e.Err }

// ReusedConnError is a request that was sent on a kept connection, which ended before an answer came. Most often the endpoint
// had closed it because it was idle, before it read the request.
type ReusedConnError struct{ Err error }

// Error says how the connection ended.
func (e *ReusedConnError) Error() string { return "on a kept connection: " + e.Err.Error() }

// Unwrap returns how the connection ended.
func (e *ReusedConnError) Unwrap() error { return e.Err }

// isReplayable reports whether a request can be sent again when a kept connection turns out to be closed: GetBody tells so of a
// body.
func isReplayable(req *http.Request) bool {
	switch req.Method {
	case http.MethodPut, http.MethodDelete:
		if req.Header.Get("Idempotency-Key") != "" || req.Header.Get("X-Idempotency-Key") != "" {
			return false // which net/http would send again by itself
		}
		fallthrough
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	}
	return false
}

// Close lets requests on connections finish, makes no new connection, and keeps none for later.
func (l *Conns) Close() {
	l.cancel()
	l.pooledTransport.CloseIdleConnections()
	l.singleUseTransport.CloseIdleConnections()
}

// Abort breaks all connections, with the requests and the tunnels on them.
func (l *Conns) Abort() {
	l.tunnels.Abort() // first, so that they know who ended them
	l.mu.Lock()
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // it may have been closed in the meantime
	}
}

// DialError is a connection that could not be made: no byte of any request was sent.
type DialError struct {
	Address string
	Err     error
}

// Error says what was dialled, and why that failed.
func (e *DialError) Error() string { return fmt.Sprintf("dial %s: %v", e.Address, cause(e.Err)) }

// Unwrap returns why the dial failed.
func (e *DialError) Unwrap() error { return e.Err }

// cause drops the address that net's own errors repeat.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

type newConnKey struct{}

// WithNewConn returns a context under which [Conns.Send] uses a new connection: a kept one has just failed, and others may be as
// dead.
func WithNewConn(ctx context.Context) context.Context {
	return context.WithValue(ctx, newConnKey{}, true)
}

type dialTimeoutKey struct{}

// WithDialTimeout returns a context under which [Conns.Send] waits at most d for a connection.
func WithDialTimeout(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, dialTimeoutKey{}, d)
}

func (l *Conns) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	timeout, ok := ctx.Value(dialTimeoutKey{}).(time.Duration)
	if !ok {
		timeout = DefaultDialTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	raw, err := (&net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive}).DialContext(ctx, network, l.addr)
	if err != nil {
		if l.ctx.Err() != nil {
			err = errRemoved // and not what ended the dial, which is no doing of the client's
		}
		return nil, &DialError{l.addr, err}
	}
	c := &conn{Conn: raw, owner: l, closed: make(chan struct{})}
	if !l.register(c) {
		_ = raw.Close() // whoever answered need not be who was asked for
		return nil, &DialError{l.addr, errRemoved}
	}
	return c, nil
}

// register adds a connection to those that Cut breaks, unless the link has been closed.
func (l *Conns) register(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

// errRemoved is why a closed link dials no more.
var errRemoved = errors.New("the endpoint is gone")

var (
	_ registry.Conns         = (*Conns)(nil)
	_ tunnel.TransparentConn = (*conn)(nil)
)
