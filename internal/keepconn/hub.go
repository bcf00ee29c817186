// Package keepconn keeps the idle HTTP/1.1 connections of clients open when one http.Server takes over from another, as in a reload.
//
// http.Server.Shutdown closes idle connections, and a client may send a request at the same instant, which is then lost. Here the
// connection is moved instead: when there is a listener for the next server, and Close is called on a connection that the server
// considers idle. The connection then waits for its next request, which the oldest open listener of the same key gets. TLS connections keep their session.
//
// HTTP/2 has its own way, GOAWAY: its connections are not moved. A server must not be closed with Close, which does not wait for handlers.
package keepconn

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Hub has the listeners between which connections move. The zero Hub is ready to use, and safe for concurrent use.
type Hub struct {
	tracked  sync.Map     // net.Conn, as net/http has it → *conn
	arriving atomic.Int64 // connections that no server has got yet

	mu        sync.Mutex
	listeners map[string][]*Listener           // by key, open ones, the oldest first
	waiting   map[string]map[net.Conn]struct{} // by key, connections that wait for their next request
}

// Arriving returns how many connections are accepted, and no server has got them yet: their TLS handshake is under way.
func (h *Hub) Arriving() int64 { return h.arriving.Load() }

// oldest returns the oldest open listener of a key, or nil. A newer one gets connections when the older one is closed. It never returns
// not, the listener of a server that shuts down.
func (h *Hub) oldest(key string, not *Listener) *Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.listeners[key] {
		if l != not {
			return l
		}
	}
	return nil
}

func (h *Hub) add(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners, h.waiting = make(map[string][]*Listener), make(map[string]map[net.Conn]struct{})
	}
	h.listeners[l.options.Key] = append(h.listeners[l.options.Key], l)
}

// remove removes a listener. With the last one of its key, the connections that wait for it are closed.
func (h *Hub) remove(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := l.options.Key
	all := h.listeners[key]
	for i := range all {
		if all[i] == l {
			h.listeners[key] = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if len(h.listeners[key]) == 0 {
		delete(h.listeners, key)
		for c := range h.waiting[key] {
			_ = c.SetReadDeadline(past) // its wait ends
		}
	}
}

// deliver gives a connection to the oldest listener of a key other than not, or closes it if there is none. If the others are closed, since
// their configuration has failed to start, it is not after all.
func (h *Hub) deliver(key string, not *Listener, r accepted) {
	for {
		l := cmp.Or(h.oldest(key, not), h.oldest(key, nil))
		if l == nil {
			_ = r.conn.Close()
			return
		}
		select {
		case l.accepted <- r:
			return
		case <-l.closed:
		}
	}
}

// move waits for the next bytes of an idle connection of a listener, and gives it to the next listener. prefix are bytes that were read
// already.
func (h *Hub) move(from *Listener, c net.Conn, prefix []byte) {
	key := from.options.Key
	if len(prefix) > 0 {
		_ = c.SetDeadline(time.Time{})
		h.deliver(key, from, accepted{conn: c, prefix: prefix})
		return
	}
	if !h.startWaiting(from, c) {
		_ = c.Close()
		return
	}
	first := make([]byte, 1)
	n, err := c.Read(first)
	h.stopWaiting(key, c)
	if n == 0 || err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	h.deliver(key, from, accepted{conn: c, prefix: first})
}

// startWaiting reports false if there is no next listener.
func (h *Hub) startWaiting(from *Listener, c net.Conn) bool {
	key := from.options.Key
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.listeners[key], func(l *Listener) bool { return l != from }) {
		return false
	}
	if h.waiting[key] == nil {
		h.waiting[key] = make(map[net.Conn]struct{})
	}
	h.waiting[key][c] = struct{}{}
	_ = c.SetDeadline(time.Time{})
	_ = c.SetReadDeadline(time.Now().Add(from.options.IdleTimeout))
	return true
}

func (h *Hub) stopWaiting(key string, c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting[key], c)
	if len(h.waiting[key]) == 0 {
		delete(h.waiting, key)
	}
}

// past is a deadline that ends a pending read.
var past = time.Unix(1, 0)
