package listeners

import (
	"net"
	"sync"
)

// merged is a listener on two sockets: that of the gate, which clients outside reach, and one of the edge's own container, for the other
// containers that reach the edge by its name.
type merged struct {
	net.Listener // the gate's
	own          net.Listener
	accepted     chan accepted
	closed       chan struct{}
	close        sync.Once
}

// accepted is the result of an accept.
type accepted struct {
	conn net.Conn
	err  error
}

func merge(gate, own net.Listener) net.Listener {
	m := &merged{Listener: gate, own: own, accepted: make(chan accepted), closed: make(chan struct{})}
	go m.run(gate)
	go m.run(own)
	return m
}

// run accepts connections of one socket until both are closed.
func (m *merged) run(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		select {
		case m.accepted <- accepted{conn, err}:
		case <-m.closed:
			if err == nil {
				_ = conn.Close()
			}
			return
		}
	}
}

// Accept implements net.Listener.
func (m *merged) Accept() (net.Conn, error) {
	select {
	case a := <-m.accepted:
		return a.conn, a.err
	case <-m.closed:
		return nil, &net.OpError{Op: "accept", Net: m.Addr().Network(), Addr: m.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (m *merged) Close() error {
	err := net.ErrClosed
	m.close.Do(func() {
		close(m.closed)
		err = m.Listener.Close()
		if ownErr := m.own.Close(); err == nil {
			err = ownErr
		}
	})
	return err
}
