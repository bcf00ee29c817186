package keepconn

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Options of a listener.
type Options struct {
	// Key is what the connections of two listeners must have in common to move from one to the other, such as the address and the
	// settings of TLS.
	Key string
	// IdleTimeout is how long a connection waits for its next request after it was moved. 0: 5 minutes.
	IdleTimeout time.Duration
	// HandshakeTimeout is how long a TLS handshake may take. 0: as long as the client likes, as with net/http.
	HandshakeTimeout time.Duration
}

// Listener accepts the connections of another listener, and those that are moved to it.
type Listener struct {
	net.Listener
	hub     *Hub
	options Options

	accepted chan accepted
	closed   chan struct{}
	close    sync.Once
}

// accepted is a connection to deliver, or the error of an accept.
type accepted struct {
	conn   net.Conn
	prefix []byte // bytes of conn that were read already
	err    error
	// isForeign says that the connection is not HTTP/1.1, or that its handshake has failed: the server gets it as it is.
	isForeign bool
}

// Wrap returns a listener that accepts the connections of inner, and those of earlier listeners of the same key. inner may be a listener
// of TLS; then Wrap must have it as it is.
func (h *Hub) Wrap(inner net.Listener, options Options) *Listener {
	if options.IdleTimeout <= 0 {
		options.IdleTimeout = 5 * time.Minute
	}
	l := &Listener{Listener: inner, hub: h, options: options, accepted: make(chan accepted), closed: make(chan struct{})}
	h.add(l)
	go l.run()
	return l
}

// run accepts the connections of the inner listener until it is closed.
func (l *Listener) run() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			select {
			case l.accepted <- accepted{err: err}: // the server pauses before its next Accept
				continue
			case <-l.closed:
				return
			}
		}
		l.hub.arriving.Add(1)
		if secure, ok := conn.(*tls.Conn); ok {
			go l.handshake(secure)
			continue
		}
		l.hub.deliver(l.options.Key, nil, accepted{conn: conn})
		l.hub.arriving.Add(-1)
	}
}

// handshake completes the handshake of a TLS connection, which tells whether it is one of HTTP/2.
func (l *Listener) handshake(conn *tls.Conn) {
	defer l.hub.arriving.Add(-1)
	if l.options.HandshakeTimeout > 0 {
		_ = conn.SetDeadline(time.Now().Add(l.options.HandshakeTimeout))
	}
	err := conn.HandshakeContext(context.Background())
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
	}
	protocol := conn.ConnectionState().NegotiatedProtocol
	l.hub.deliver(l.options.Key, nil, accepted{conn: conn, isForeign: err != nil || protocol != "" && protocol != "http/1.1"})
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		if a.err != nil || a.isForeign {
			return a.conn, a.err
		}
		return newConn(l, a.conn, a.prefix), nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener. The next listener gets the connections that come from now on.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.close.Do(func() {
		l.hub.remove(l)
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}
