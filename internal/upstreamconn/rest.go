package upstreamconn

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// MinRest is how many bytes of a body must be left for [RestCopier]: for fewer, copying them is as fast.
const MinRest = 128 << 10

// RestCopier is the body of a response whose rest the kernel may copy to the connection of a client (splice), without a copy in this process.
type RestCopier interface {
	// CopyRest sends the rest of the body to w, which should pass it on to a TCP connection. isDone is false if nothing was copied, since the rest is
	// too short, its length is not known, or some of it was read already: it has to be read as usual. readErr is why the rest could not be read,
	// and writeErr why it could not be written.
	CopyRest(w io.ReaderFrom) (isDone bool, readErr, writeErr error)
}

// CopyRest implements [RestCopier].
func (c *call) CopyRest(w io.ReaderFrom) (isDone bool, readErr, writeErr error) {
	tcp, ok := c.conn.Conn.(*net.TCPConn)
	if !ok || c.left < MinRest || c.conn.reader.Buffered() > 0 || c.isDone.Load() {
		return false, nil, nil
	}
	rest := &io.LimitedReader{R: tcp, N: c.left} // the type that net knows
	_, err := w.ReadFrom(rest)
	c.left = rest.N
	if err == nil && rest.N == 0 {
		c.finish(true)
		return true, nil, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	hasEnded := c.conn.hasEnded() // before it is closed
	c.finish(false)
	switch ctxErr := c.Context.Err(); {
	case ctxErr != nil:
		return true, ctxErr, nil
	case hasEnded:
		return true, err, nil
	}
	return true, nil, err
}

// hasEnded reports whether the endpoint has ended the connection, and nothing is left to read.
func (c *conn) hasEnded() bool {
	if c.raw == nil {
		return false
	}
	hasEnded := false
	err := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		hasEnded = n <= 0 && err != unix.EAGAIN
	})
	return err != nil || hasEnded
}

var _ RestCopier = (*call)(nil)
