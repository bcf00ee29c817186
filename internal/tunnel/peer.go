package tunnel

import (
	"errors"
	"net"
	"sync"
	"time"
)

// peer is one of the two connections of a tunnel. One direction reads it, and the other writes to it.
type peer struct {
	net.Conn
	side   string     // Client or Endpoint
	writer *direction // the one that writes to this peer

	mu          sync.Mutex
	refs        int // directions that still use the connection
	writeFailed bool
}

func (p *peer) setup(c net.Conn, side string, writer *direction) {
	p.Conn, p.side, p.writer, p.refs = c, side, writer, 2
}

// markWriteFailed records that a write failed.
func (p *peer) markWriteFailed() {
	p.mu.Lock()
	p.writeFailed = true
	p.mu.Unlock()
}

// release is called once by each direction, when it no longer uses the connection. The second call closes it. The direction
// that wrote to it may still discard what the opposite peer sends; it gets replyTimeout more, in which that peer can read
// what is on its way to it.
func (p *peer) release() {
	p.mu.Lock()
	p.refs--
	isLast, writeFailed := p.refs == 0, p.writeFailed
	p.mu.Unlock()
	if !isLast {
		return
	}
	if secure, ok := p.Conn.(interface{ NetConn() net.Conn }); ok && writeFailed {
		_ = secure.NetConn().Close() // tls.Conn.Close would wait 5 s to write its close_notify
	}
	_ = p.Close() // no caller is left to report the error to
	p.writer.deadline.limit(time.Now().Add(replyTimeout))
}

// closeWrite closes the connection for writing, or returns [errors.ErrUnsupported] if it can only be closed whole.
func (p *peer) closeWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
