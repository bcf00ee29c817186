package listeners

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// connections are the open connections of clients, of all configurations. Those that were hijacked, such as WebSockets, are not among them.
type connections struct{ open sync.Map } // net.Conn → *openConn

// openConn is when a connection was opened, and since when it is idle.
type openConn struct {
	since     time.Time
	idleSince atomic.Int64 // 0: it is not idle
}

// set follows the state of a connection, as http.Server.ConnState has it.
func (c *connections) set(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		now := time.Now()
		opened := &openConn{since: now}
		opened.idleSince.Store(now.UnixNano()) // many are opened in advance
		c.open.Store(conn, opened)
	case http.StateActive, http.StateIdle:
		opened, ok := c.open.Load(conn)
		if !ok {
			return
		}
		idleSince := int64(0)
		if state == http.StateIdle {
			idleSince = time.Now().UnixNano()
		}
		opened.(*openConn).idleSince.Store(idleSince)
	default:
		c.open.Delete(conn)
	}
}

// count returns how many connections were opened before a time, and how many of them are not idle for a duration.
func (c *connections) count(before time.Time, quiet time.Duration) (all, inUse int) {
	limit := time.Now().Add(-quiet).UnixNano()
	c.open.Range(func(_, value any) bool {
		opened := value.(*openConn)
		if opened.since.After(before) {
			return true
		}
		all++
		if idleSince := opened.idleSince.Load(); idleSince == 0 || idleSince > limit {
			inUse++
		}
		return true
	})
	return all, inUse
}
