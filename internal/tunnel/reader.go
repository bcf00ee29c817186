package tunnel

import (
	"net"
	"sync"
)

// TransparentConn is a connection around another one that neither reads ahead nor changes what is read: its Read, Write and
// deadlines are those of the connection within. (What offers NetConn, as tls.Conn does, may do both.)
type TransparentConn interface {
	net.Conn
	// UnderlyingConn returns the connection within.
	UnderlyingConn() net.Conn
}

// reader is a connection to read from, without a buffer kept for what may never come.
type reader interface {
	// read waits for bytes. They may come with an error, and are valid until release.
	read() ([]byte, error)
	release()
}

// newReader returns how to read a connection within a term.
func newReader(conn net.Conn, m *deadline) reader {
	within := conn
	if b, ok := conn.(TransparentConn); ok {
		within = b.UnderlyingConn()
	}
	if s := newUnbufferedReader(within); s != nil {
		return s
	}
	return &bufferedReader{conn: conn, deadline: m}
}

type buffer [32 << 10]byte

// buffers are shared by all tunnels: only those in which bytes are on their way hold one.
var buffers = sync.Pool{New: func() any { return new(buffer) }}
