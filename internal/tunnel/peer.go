package tunnel

import (
	"errors"
	"net"
	"sync"
	"time"
)

// peer is one of a tunnel's two connections. One direction reads it and the other writes to it.
type peer struct {
	net.Conn
	side   string
	writer *direction // to this end, from the other one

	mu          sync.Mutex
	refs        int
	writeFailed bool
}

func (e *peer) setup(c net.Conn, who string, writer *direction) {
	e.Conn, e.side, e.writer, e.refs = c, who, writer, 2
}

// markWriteFailed notes that a write failed.
func (e *peer) markWriteFailed() {
	e.mu.Lock()
	e.writeFailed = true
	e.mu.Unlock()
}

// release is called once by each direction, when it is done with the end. The last one closes it. Nothing can be passed
// on from the other end then, which gets some time to take what is on its way to it.
func (e *peer) release() {
	e.mu.Lock()
	e.refs--
	last, broken := e.refs == 0, e.writeFailed
	e.mu.Unlock()
	if !last {
		return
	}
	if secure, ok := e.Conn.(interface{ NetConn() net.Conn }); ok && broken {
		_ = secure.NetConn().Close() // or tls.Conn would wait 5 s for room for its goodbye
	}
	_ = e.Close() // nobody is left to whom an error would matter
	e.writer.deadline.limit(time.Now().Add(replyTimeout))
}

// closeWrite ends the direction to this end, as far as the connection can do that.
func (e *peer) closeWrite() error {
	if half, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
