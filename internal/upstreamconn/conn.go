package upstreamconn

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/tunnel"
)

// conn is a connection that its owner can abort. One request at a time uses it.
type conn struct {
	net.Conn
	owner  *Conns
	reader *bufio.Reader
	raw    syscall.RawConn // nil: it has no descriptor
	once   sync.Once       // closes it

	// headLeft is how many bytes may still be read for the heads of a response; -1 is no limit.
	headLeft  int
	idleSince time.Time
	mayPause  bool // the endpoint may stop reading for longer than silenceTimeout

	// look sets isOff if the connection can't be used. It is one function for all calls.
	look  func(fd uintptr)
	isOff bool
	// abort closes the connection when its request's context ends.
	abort func()
}

func newConn(raw net.Conn, owner *Conns) *conn {
	c := &conn{Conn: raw, owner: owner, headLeft: -1}
	c.reader = bufio.NewReaderSize(headReader{c}, bufferSize)
	c.abort = func() { _ = c.Close() } // it may be closed already
	if s, ok := raw.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn() // without it, the connection is not looked at
		c.look = func(fd uintptr) {
			var b [1]byte
			_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			c.isOff = err != unix.EAGAIN
		}
	}
	return c
}

// canBeUsed reports whether the endpoint has neither closed the idle connection nor sent something that nobody has asked for.
func (c *conn) canBeUsed() bool {
	if c.reader.Buffered() > 0 {
		return false
	}
	if c.raw == nil {
		return true
	}
	return c.raw.Control(c.look) == nil && !c.isOff
}

// forgetRequests drops what only requests need: tens of thousands of tunnels may be idle.
func (c *conn) forgetRequests() { c.reader, c.raw, c.look, c.abort = nil, nil, nil, nil }

// errHeadTooLarge is why a response is not read.
var errHeadTooLarge = errors.New("the response headers exceeded the limit")

// headReader reads from the connection, and limits the heads.
type headReader struct{ *conn }

// Read reads from the connection.
func (r headReader) Read(p []byte) (int, error) {
	switch {
	case r.headLeft == 0:
		return 0, errHeadTooLarge
	case r.headLeft > 0 && len(p) > r.headLeft:
		p = p[:r.headLeft]
	}
	n, err := r.Conn.Read(p)
	if r.headLeft > 0 {
		r.headLeft -= n
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
		c.owner.mu.Lock()
		delete(c.owner.conns, c)
		c.owner.mu.Unlock()
	})
	return c.Conn.Close()
}

var _ tunnel.TransparentConn = (*conn)(nil)
