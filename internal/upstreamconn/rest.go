package upstreamconn

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// MinRest is how many bytes must have arrived for [RestCopier]: fewer are copied as fast.
const MinRest = 16 << 10

// RestCopier is the body of a response, parts of which the kernel may copy to the connection of a client (splice), without a copy in this process.
type RestCopier interface {
	// CopyArrived sends what has arrived of the body to w, which should pass it on to a TCP connection. It does not wait for more, so that the deadlines of
	// the client's connection are for the client alone. n is 0 if too little has arrived, if the length of the body is not known, or if some of it is
	// in a buffer: it has to be read as usual. At the end of the body, err is io.EOF. fromEndpoint is set if another error is the endpoint's.
	CopyArrived(w io.ReaderFrom) (n int64, fromEndpoint bool, err error)
}

// CopyArrived implements [RestCopier].
func (c *call) CopyArrived(w io.ReaderFrom) (n int64, fromEndpoint bool, err error) {
	tcp, ok := c.conn.Conn.(*net.TCPConn)
	if !ok || c.left < MinRest || c.conn.reader.Buffered() > 0 || c.isDone.Load() {
		return 0, false, nil
	}
	arrived := min(c.left, c.conn.arrived())
	if arrived < MinRest {
		return 0, false, nil
	}
	left := c.left
	n, err = w.ReadFrom(&io.LimitedReader{R: tcp, N: arrived}) // the type that net knows
	c.isCopied = true
	if c.left -= n; err == nil {
		if c.left == 0 {
			c.finish(true)
			err = io.EOF
		}
		return n, false, err
	}
	fromEndpoint = arrived < left && c.conn.hasEnded() // before it is closed; if all had arrived, it is the client that failed
	c.finish(false)
	if ctxErr := c.Context.Err(); ctxErr != nil {
		return n, true, ctxErr
	}
	if fromEndpoint {
		err = c.conn.owner.explain(err)
	}
	return n, fromEndpoint, err
}

// readRest reads the body after a part of it was copied, of which c.body does not know.
func (c *call) readRest(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.conn.reader.Read(p[:min(int64(len(p)), c.left)])
	if err == io.EOF && int64(n) < c.left {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// arrived returns how many bytes have arrived.
func (c *conn) arrived() (n int64) {
	if c.raw == nil {
		return 0
	}
	_ = c.raw.Control(func(fd uintptr) { // a closed connection has none
		if got, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
			n = int64(got)
		}
	})
	return n
}

// hasEnded reports whether the endpoint has ended the connection, and nothing is left to read.
func (c *conn) hasEnded() bool {
	hasEnded := false
	err := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		hasEnded = n <= 0 && err != unix.EAGAIN
	})
	return err != nil || hasEnded
}

var _ RestCopier = (*call)(nil)
