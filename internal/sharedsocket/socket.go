// Package sharedsocket has listeners that share one listening socket, so that a reload loses no connection.
//
// If each configuration opened a socket of its own with SO_REUSEPORT, closing the old one would reset the connections in its queue, and
// those whose handshake is not complete. Here the socket stays open as long as any listener of its address is. Connections go to the
// oldest of them: a configuration gets none before all of it has started, which is when the earlier one is stopped.
package sharedsocket

import (
	"context"
	"net"
	"sync"

	"github.com/theworklabs/edge/internal/resource"
)

// Pool has the sockets by address. The zero Pool is ready to use, and safe for concurrent use.
type Pool struct {
	// Open opens a socket. nil: as package net does.
	Open func(ctx context.Context, network, address string, config net.ListenConfig) (net.Listener, error)

	// OnError is called for each attempt to accept a connection that fails. It may be nil.
	OnError func(error)

	mu      sync.Mutex
	sockets map[string]*socket
}

// socket is a listening socket and the listeners that share it.
type socket struct {
	pool *Pool
	key  string
	ln   net.Listener

	listeners []*listener // open ones, the oldest first; guarded by pool.mu
}

// temporaryError is an error after which a server tries again. Of what a process can run out of, package net calls only descriptors temporary: for want of memory, a server
// of package net/http would end.
type temporaryError struct{ error }

// Temporary says so, as [net.Error] has it.
func (temporaryError) Temporary() bool { return true }

// Timeout implements [net.Error].
func (temporaryError) Timeout() bool { return false }

// Unwrap returns what has failed.
func (e temporaryError) Unwrap() error { return e.error }

var _ net.Error = temporaryError{}

// accepted is the result of an accept.
type accepted struct {
	conn net.Conn
	err  error
}

// listener is a share of a socket.
type listener struct {
	socket    *socket
	keepAlive net.KeepAliveConfig // of the connections that it accepts
	accepted  chan accepted
	closed    chan struct{}
	close     sync.Once
}

// Listen returns a listener on an address. It opens a socket if there is none yet. Each listener has its own settings of TCP keep-alive.
func (p *Pool) Listen(ctx context.Context, network, address string, config net.ListenConfig) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keepAlive := config.KeepAliveConfig
	if !keepAlive.Enable && config.KeepAlive >= 0 { // as package net does
		keepAlive = net.KeepAliveConfig{Enable: true, Idle: config.KeepAlive}
	}
	config.KeepAlive, config.KeepAliveConfig = -1, net.KeepAliveConfig{}
	key := network + "/" + address
	s := p.sockets[key]
	if s == nil {
		ln, err := p.open(ctx, network, address, config)
		if err != nil {
			return nil, err
		}
		s = &socket{pool: p, key: key, ln: ln}
		if p.sockets == nil {
			p.sockets = make(map[string]*socket)
		}
		p.sockets[key] = s
		go s.run()
	}
	l := &listener{socket: s, keepAlive: keepAlive, accepted: make(chan accepted), closed: make(chan struct{})}
	s.listeners = append(s.listeners, l)
	return l, nil
}

func (p *Pool) open(ctx context.Context, network, address string, config net.ListenConfig) (net.Listener, error) {
	if p.Open != nil {
		return p.Open(ctx, network, address, config)
	}
	return config.Listen(ctx, network, address)
}

// run accepts connections until the last listener is closed.
func (s *socket) run() {
	for {
		conn, err := s.ln.Accept()
		if err != nil && s.pool.OnError != nil {
			s.pool.OnError(err)
		}
		if _, isExhausted := resource.Exhausted(err); isExhausted {
			err = temporaryError{err}
		}
		if !s.deliver(accepted{conn, err}) {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
	}
}

// deliver gives the result of an accept to the oldest listener. It reports false if there is none.
func (s *socket) deliver(a accepted) bool {
	for {
		l := s.oldest()
		if l == nil {
			return false
		}
		select {
		case l.accepted <- a:
			return true
		case <-l.closed:
		}
	}
}

func (s *socket) oldest() *listener {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if len(s.listeners) == 0 {
		return nil
	}
	return s.listeners[0]
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		if conn, ok := a.conn.(*net.TCPConn); ok && l.keepAlive.Enable {
			_ = conn.SetKeepAliveConfig(l.keepAlive) // like package net
		}
		return a.conn, a.err
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener. The last listener closes the socket.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.close.Do(func() {
		err = l.socket.remove(l)
		close(l.closed)
	})
	return err
}

func (s *socket) remove(l *listener) error {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for i := range s.listeners {
		if s.listeners[i] == l {
			s.listeners = append(s.listeners[:i:i], s.listeners[i+1:]...)
			break
		}
	}
	if len(s.listeners) > 0 {
		return nil
	}
	delete(s.pool.sockets, s.key)
	return s.ln.Close()
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.socket.ln.Addr() }
