package upstreamconn

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// conn is a connection that its link can cut.
type conn struct {
	net.Conn
	owner  *Conns
	once   sync.Once
	closed chan struct{}
}

// Write sends bytes. An endpoint that refuses a request before it has read all of it, such as an upload that is too large,
// answers and ends the connection. Its answer can still be read then, but net/http would drop it for the failed write. So
// that write fails only when the connection is closed, which net/http does when it has read the answer, or the
// connection's end.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		<-c.closed
	}
	return n, err
}

// UnderlyingConn returns the connection within, for tunnels.
func (c *conn) UnderlyingConn() net.Conn { return c.Conn }

// CloseWrite ends one direction, as an upgraded connection may.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection; the link need not cut it any more.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.owner.mu.Lock()
		delete(c.owner.conns, c)
		c.owner.mu.Unlock()
	})
	return c.Conn.Close()
}
