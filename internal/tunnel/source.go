package tunnel

import (
	"net"
	"sync"
)

// Bare is a connection around another one that neither reads ahead nor changes what is read: its Read, Write and
// deadlines are those of the connection within. (What offers NetConn, as tls.Conn does, may do both.)
type Bare interface {
	net.Conn
	// Bare returns the connection within.
	Bare() net.Conn
}

// source is a connection to read from, without a buffer kept for what may never come.
type source interface {
	// read waits for bytes. They may come with an error, and are valid until release.
	read() ([]byte, error)
	release()
}

// newSource returns how to read a connection within a term.
func newSource(conn net.Conn, m *term) source {
	within := conn
	if b, ok := conn.(Bare); ok {
		within = b.Bare()
	}
	if s := newDescriptor(within); s != nil {
		return s
	}
	return &layer{conn: conn, term: m}
}

type buffer [32 << 10]byte

// buffers are shared by all tunnels: only those in which bytes are on their way hold one.
var buffers = sync.Pool{New: func() any { return new(buffer) }}
