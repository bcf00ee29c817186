package tunnel

import (
	"errors"
	"net"
	"sync"
	"time"
)

// end is one of a tunnel's two connections. One direction reads it and the other writes to it.
type end struct {
	net.Conn
	who    string
	writer *direction // to this end, from the other one

	mu     sync.Mutex
	users  int
	broken bool
}

func (e *end) open(c net.Conn, who string, writer *direction) {
	e.Conn, e.who, e.writer, e.users = c, who, writer, 2
}

// fail notes that a write failed.
func (e *end) fail() {
	e.mu.Lock()
	e.broken = true
	e.mu.Unlock()
}

// leave is called once by each direction, when it is done with the end. The last one closes it. Nothing can be passed
// on from the other end then, which gets some time to take what is on its way to it.
func (e *end) leave() {
	e.mu.Lock()
	e.users--
	last, broken := e.users == 0, e.broken
	e.mu.Unlock()
	if !last {
		return
	}
	if secure, ok := e.Conn.(interface{ NetConn() net.Conn }); ok && broken {
		_ = secure.NetConn().Close() // or tls.Conn would wait 5 s for room for its goodbye
	}
	_ = e.Close() // nobody is left to whom an error would matter
	e.writer.term.limit(time.Now().Add(replyTime))
}

// closeWrite ends the direction to this end, as far as the connection can do that.
func (e *end) closeWrite() error {
	if half, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
