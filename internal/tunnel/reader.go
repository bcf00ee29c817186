package tunnel

import (
	"net"
	"sync"
	"time"
)

// TransparentConn is a connection that wraps another one without reading ahead or changing data: its Read, Write and
// deadlines are those of the wrapped connection. (A connection with a NetConn method, such as tls.Conn, may do both.)
type TransparentConn interface {
	net.Conn
	// UnderlyingConn returns the wrapped connection.
	UnderlyingConn() net.Conn
}

// reader reads a connection without holding a large buffer while nothing arrives.
type reader interface {
	// read waits for bytes. They may come together with an error, and are valid until release.
	read() ([]byte, error)
	release()
}

// newReader returns a reader for a connection whose reads the deadline limits.
func newReader(conn net.Conn, d *deadline) reader {
	underlying := conn
	if t, ok := conn.(TransparentConn); ok {
		underlying = t.UnderlyingConn()
	}
	if r := newUnbufferedReader(underlying); r != nil {
		return r
	}
	return &bufferedReader{conn: conn, deadline: d}
}

type buffer [32 << 10]byte

// buffers are shared by all tunnels. A tunnel takes one only while it forwards bytes.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// largeBufferTimeout is how long a bufferedReader waits for more bytes before it gives its large buffer back.
const largeBufferTimeout = time.Millisecond

// bufferedReader waits in Read with a small buffer of its own, for connections that read ahead: their file descriptor does
// not show the bytes that they hold. While more bytes arrive than the small buffer holds, it reads into a large one.
type bufferedReader struct {
	conn     net.Conn
	deadline *deadline
	large    *buffer
	small    [512]byte
}

func (r *bufferedReader) read() ([]byte, error) {
	size := 0 // bytes in the large buffer
	if r.large == nil {
		n, err := r.conn.Read(r.small[:])
		if n < len(r.small) || err != nil {
			return r.small[:n], err
		}
		r.large = buffers.Get().(*buffer)
		size = copy(r.large[:], r.small[:])
	}
	// Without this limit, a message that exactly fills the small buffer would keep the large one for ever.
	r.deadline.limitNextRead(largeBufferTimeout)
	n, err := r.conn.Read(r.large[size:])
	p := r.large[:size+n]
	if err != nil && len(p) <= len(r.small) {
		p = r.small[:copy(r.small[:], p)]
		buffers.Put(r.large)
		r.large = nil
	}
	return p, err
}

// release keeps the large buffer. The next read gives it back if nothing more arrives.
func (*bufferedReader) release() {}
