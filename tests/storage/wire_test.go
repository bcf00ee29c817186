package storage

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire is a way to the database that can be cut, and on which everything can get lost.
type wire struct {
	ln net.Listener

	mu    sync.Mutex
	cut   bool
	lossy bool
	found *sync.Cond // told when lossy changes
	conns map[net.Conn]bool
}

func newWire(t *testing.T) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, conns: make(map[net.Conn]bool)}
	w.found = sync.NewCond(&w.mu)
	t.Cleanup(func() {
		_ = ln.Close() // it was only listened on
		w.lose(false)
		w.set(true)
	})
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.carry(conn)
		}
	}()
	return w
}

func (w *wire) address() string { return w.ln.Addr().String() }

func (w *wire) carry(conn net.Conn) {
	defer conn.Close()
	back, err := net.Dial("tcp", database)
	if err != nil {
		return
	}
	defer back.Close()
	w.mu.Lock()
	cut := w.cut
	w.conns[conn] = true
	w.mu.Unlock()
	if cut {
		return
	}
	go func() {
		_, _ = io.Copy(back, w.through(conn)) // ends with either
		_ = back.Close()
	}()
	_, _ = io.Copy(conn, w.through(back))
}

// through reads from a connection, and nothing as long as everything gets lost.
func (w *wire) through(conn net.Conn) io.Reader { return lossy{conn, w} }

type lossy struct {
	net.Conn
	w *wire
}

func (l lossy) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for l.w.lossy {
		l.w.found.Wait()
	}
	return n, err
}

// set cuts the wire, and all that is on it, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for conn := range w.conns {
		_ = conn.Close()
		delete(w.conns, conn)
	}
}

// lose has everything get lost on the wire without a word, until it is called again.
func (w *wire) lose(lossy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lossy = lossy
	w.found.Broadcast()
}
