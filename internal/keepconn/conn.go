package keepconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
)

// conn is an HTTP/1.1 connection, which can be moved while it is idle.
//
// Three parties use it: the server's goroutine that reads requests and responds, Shutdown, which calls Close, and the hub, which owns
// the connection after it was moved. The states of net/http decide: a connection is idle from the end of a response until the head of
// the next request has been read. A server that shuts down does not handle a request whose head it reads from then on: it closes the
// connection. So the bytes are kept until the server reads again or responds, and move with the connection.
//
// A connection moves only if all bytes that the server has got are known to belong to requests that it has handled, or are kept. Where that
// is not certain, since the client pipelines or the length of a body is not known, or where it is not HTTP/1.1 at all, the connection
// becomes unmovable, and is closed as without this package.
type conn struct {
	net.Conn
	listener *Listener

	mu        sync.Mutex
	prefix    []byte // bytes to read before those of Conn
	isIdle    bool   // as net/http reports it; a new connection counts as idle
	reading   bool   // a Read of Conn is pending
	isClosed  bool
	unmovable bool // for good; also after it was hijacked
	moving    bool // Close was called while the connection was idle: it is moved as soon as the server lets go
	moved     bool

	// head are the bytes of the next request that the server has got. It is emptied when the server reads after the head, to get the rest
	// of the body or to notice a disconnect, or responds. A handler that does neither may have begun before that.
	head []byte
	// left is how many bytes of the request under way the server has not got yet. Below zero, it has got some of the next one.
	left int64
	// background are bytes that the server read while it responded, to notice a disconnect. They are the first of the next request.
	background []byte
}

// newConn returns a connection that the listener's server is about to get.
func newConn(l *Listener, inner net.Conn, prefix []byte) net.Conn {
	c := &conn{Conn: inner, listener: l, prefix: prefix}
	if secure, ok := inner.(*tls.Conn); ok {
		return &tlsConn{conn: c, secure: secure}
	}
	return c
}

// tlsConn is a conn with TLS. Caddy reads the state of the connection from it.
type tlsConn struct {
	*conn
	secure *tls.Conn
}

// ConnectionState returns the state of the TLS connection.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }

// NetConn returns the connection below, without TLS, for those who need its socket.
func (c *conn) NetConn() net.Conn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c.Conn
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.moving {
		c.startMove(nil)
	}
	if c.moved || c.isClosed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	if !c.isIdle {
		c.head = c.head[:0] // the handler has begun
	}
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		c.record(p[:n], len(p))
		c.mu.Unlock()
		return n, nil
	}
	c.reading = true
	c.mu.Unlock()

	n, err := c.Conn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.moving {
		c.startMove(p[:n])
		return 0, net.ErrClosed
	}
	c.record(p[:n], len(p))
	return n, err
}

// record keeps bytes that the server has got with a buffer of some size. The caller holds c.mu.
func (c *conn) record(got []byte, size int) {
	switch {
	case c.unmovable:
	case c.isIdle:
		c.head = append(c.head, got...)
		if len(c.head) > maxHead || bytes.HasPrefix(c.head, http2Preface) {
			c.unmovable, c.head = true, nil
		}
	case size == 1: // net/http reads one byte in the background
		c.background = append(c.background, got...)
	case c.left != unknownLength:
		c.left -= int64(len(got))
	}
}

// maxHead is the most bytes of a request that are kept. net/http reads at most 4 KiB behind a head, whose default limit is 1 MiB; few are
// larger than this.
const maxHead = 32 << 10

// http2Preface is the beginning of an HTTP/2 connection, which needs no TLS with Caddy.
var http2Preface = []byte("PRI ")

// unknownLength is the value of left for a request whose end is not known: its body is chunked, or the lines of its head end with \n.
const unknownLength = math.MaxInt64

// bytesLeft returns how many bytes of a request are not among the first of it, which have its head; below zero, if these have some of the
// next one.
func bytesLeft(first []byte) int64 {
	end := bytes.Index(first, []byte("\r\n\r\n"))
	if end < 0 {
		return unknownLength
	}
	length := int64(0)
	for line := range bytes.SplitSeq(first[:end], []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return unknownLength
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 32)
			if err != nil {
				return unknownLength
			}
			length = n
		}
	}
	return int64(end+4) + length - int64(len(first))
}

// Close implements net.Conn. If there is a next listener and the connection is idle, it is not closed, but moved.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A server knows that it shuts down before it closes its listener, so the next listener is what counts.
	canMove := !c.unmovable && c.listener.hub.oldest(c.listener.options.Key, c.listener) != nil
	switch {
	case c.moved, c.moving:
		return nil
	case c.isClosed:
		return net.ErrClosed
	case canMove && c.isIdle && c.reading:
		c.moving = true
		_ = c.Conn.SetReadDeadline(past) // Read returns, and starts the move
		return nil
	case canMove && c.isIdle && len(c.head) == 0:
		c.moving = true // the next Read, or setState, starts the move
		return nil
	case canMove && c.isIdle:
		return nil // the server has bytes of a request; its goroutine handles it, or closes the connection
	case canMove && len(c.head) > 0:
		c.startMove(nil) // the server has read the head of a request, and does not handle it
		return nil
	}
	c.isClosed = true
	return c.Conn.Close()
}

// startMove gives the connection to the hub, with the bytes that were read of the next request, the last of which are got. The caller holds
// c.mu.
func (c *conn) startMove(got []byte) {
	if c.moved {
		return
	}
	c.moving, c.moved = false, true
	prefix := slices.Concat(c.head, got, c.prefix)
	go c.listener.hub.move(c.listener, c.Conn, prefix)
}

// setState follows the states that net/http reports.
func (c *conn) setState(state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.isIdle = true
	case http.StateActive:
		c.isIdle, c.moving = false, false
		c.left = bytesLeft(c.head)
	case http.StateIdle:
		c.isIdle = true
		c.unmovable = c.unmovable || c.left != 0
		c.head, c.background = append(c.head[:0], c.background...), nil
	case http.StateHijacked:
		c.isIdle, c.unmovable, c.head = false, true, nil
	case http.StateClosed: // the server's goroutine has ended
		switch {
		case c.moved || c.isClosed:
		case c.moving || c.isIdle && len(c.head) > 0 && !c.unmovable: // Close came while the server was between two reads
			c.startMove(nil)
		default:
			c.isClosed = true
			_ = c.Conn.Close()
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if c.startWrite() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// ReadFrom lets the kernel copy where it can.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if c.startWrite() {
		return 0, net.ErrClosed
	}
	to, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c.Conn}, r)
	}
	return readLimited(to, r)
}

// readLimited calls ReadFrom with one limit in the place of several: net lets the kernel copy from a connection only if there is one at most, and
// Caddy adds one of its own.
func readLimited(to io.ReaderFrom, r io.Reader) (int64, error) {
	var limits []*io.LimitedReader
	least := int64(math.MaxInt64)
	for limit, ok := r.(*io.LimitedReader); ok; limit, ok = r.(*io.LimitedReader) {
		limits, r, least = append(limits, limit), limit.R, min(least, limit.N)
	}
	if len(limits) == 0 {
		return to.ReadFrom(r)
	}
	n, err := to.ReadFrom(&io.LimitedReader{R: r, N: least})
	for _, limit := range limits {
		limit.N -= n
	}
	return n, err
}

// CloseWrite closes the direction to the client, where the connection can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && !c.startWrite() {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetDeadline, t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetReadDeadline, t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.Conn.SetWriteDeadline, t) }

// setDeadline does nothing after the connection was moved: its deadlines are the next server's. It does not undo the deadline that ends a
// pending read.
func (c *conn) setDeadline(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.moved:
		return net.ErrClosed
	case c.moving:
		return nil
	}
	return set(t)
}

// startWrite notes that the server responds. It reports whether the connection is another server's by now.
func (c *conn) startWrite() (isMoved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isIdle {
		c.head = c.head[:0]
	}
	return c.moved
}

// SetState tells the hub of a change of state, as http.Server.ConnState has it. Connections of other listeners are ignored.
func (h *Hub) SetState(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		if found := find(c); found != nil {
			h.tracked.Store(c, found)
			found.setState(state)
		}
		return
	}
	found, ok := h.tracked.Load(c)
	if !ok {
		return
	}
	if state == http.StateClosed || state == http.StateHijacked {
		h.tracked.Delete(c)
	}
	found.(*conn).setState(state)
}

// find returns the conn inside the wrappers of others, or nil. Those of Caddy embed it as Conn, and are not exported.
func find(c net.Conn) *conn {
	for range 4 {
		switch known := c.(type) {
		case *conn:
			return known
		case *tlsConn:
			return known.conn
		}
		v := reflect.ValueOf(c)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil
		}
		field := v.FieldByName("Conn")
		if !field.IsValid() || !field.CanInterface() {
			return nil
		}
		inner, ok := field.Interface().(net.Conn)
		if !ok {
			return nil
		}
		c = inner
	}
	return nil
}
