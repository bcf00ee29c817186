package storage

import (
	"io"
	"net"
	"sync"
	"testing"
)

// databaseProxy is a way to the database that can be cut, and on which everything can get lost.
type databaseProxy struct {
	ln net.Listener

	mu        sync.Mutex
	down      bool
	blackhole bool
	delivered *sync.Cond // told when lossy changes
	conns     map[net.Conn]bool
}

func newDatabaseProxy(t *testing.T) *databaseProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &databaseProxy{ln: ln, conns: make(map[net.Conn]bool)}
	w.delivered = sync.NewCond(&w.mu)
	t.Cleanup(func() {
		_ = ln.Close() // it was only listened on
		w.setBlackhole(false)
		w.setDown(true)
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w
}

func (w *databaseProxy) address() string { return w.ln.Addr().String() }

func (w *databaseProxy) serve(conn net.Conn) {
	defer conn.Close()
	back, err := net.Dial("tcp", database)
	if err != nil {
		return
	}
	defer back.Close()
	w.mu.Lock()
	cut := w.down
	w.conns[conn] = true
	w.mu.Unlock()
	if cut {
		return
	}
	go func() {
		_, _ = io.Copy(back, w.reader(conn)) // ends with either
		_ = back.Close()
	}()
	_, _ = io.Copy(conn, w.reader(back))
}

// reader reads from a connection, and nothing as long as everything gets lost.
func (w *databaseProxy) reader(conn net.Conn) io.Reader { return blackholeReader{conn, w} }

type blackholeReader struct {
	net.Conn
	proxy *databaseProxy
}

func (l blackholeReader) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	for l.proxy.blackhole {
		l.proxy.delivered.Wait()
	}
	return n, err
}

// setDown cuts the wire, and all that is on it, or mends it.
func (w *databaseProxy) setDown(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = cut
	for conn := range w.conns {
		_ = conn.Close()
		delete(w.conns, conn)
	}
}

// setBlackhole has everything get lost on the wire without a word, until it is called again.
func (w *databaseProxy) setBlackhole(lossy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blackhole = lossy
	w.delivered.Broadcast()
}
