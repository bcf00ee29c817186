package storage

import (
	"io"
	"net"
	"sync"
	"testing"
)

// databaseProxy is a TCP proxy in front of the database that can close all connections, or stop to deliver anything.
type databaseProxy struct {
	ln net.Listener

	mu        sync.Mutex
	down      bool
	blackhole bool
	delivered *sync.Cond // signals that blackhole has changed
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
		_ = ln.Close() // a listener has nothing to lose
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
	isDown := w.down
	w.conns[conn] = true
	w.mu.Unlock()
	if isDown {
		return
	}
	go func() {
		_, _ = io.Copy(back, w.reader(conn)) // ends with either connection
		_ = back.Close()
	}()
	_, _ = io.Copy(conn, w.reader(back))
}

// reader returns a reader of the connection that returns nothing while the proxy is a black hole.
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

// setDown closes all connections, and new ones at once as long as the proxy is down.
func (w *databaseProxy) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for conn := range w.conns {
		_ = conn.Close()
		delete(w.conns, conn)
	}
}

// setBlackhole stops the proxy from delivering anything; connections stay open. With false it delivers again.
func (w *databaseProxy) setBlackhole(blackhole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blackhole = blackhole
	w.delivered.Broadcast()
}
