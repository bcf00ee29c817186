package upstreamconn

import "time"

const (
	// idleConnTimeout is how long an idle connection is kept for the next request. Node closes its side after 5 s, and
	// the outcome of a request on a connection that is being closed is unknown.
	idleConnTimeout = 3 * time.Second
	maxIdleConns    = 512
	// maxIdleSingleUse is the same for a connection whose request needed a new one: each of those leaves one.
	maxIdleSingleUse = 16
)

// takeIdle returns the connection that was used last, and that the endpoint has not closed meanwhile; nil if there is none.
func (c *Conns) takeIdle() *conn {
	for {
		c.mu.Lock()
		last := len(c.idle) - 1
		if last < 0 {
			c.mu.Unlock()
			return nil
		}
		taken := c.idle[last]
		c.idle[last] = nil
		c.idle = c.idle[:last]
		c.mu.Unlock()
		if taken.canBeUsed() {
			return taken
		}
		_ = taken.Close() // the endpoint has closed it
	}
}

// putIdle keeps a connection for the next request, or closes it if there are as many as limit.
func (c *Conns) putIdle(done *conn, limit int) {
	done.forbidPauses()
	if done.reader.Buffered() > 0 || !c.keep(done, limit) {
		_ = done.Close() // nobody uses it
	}
}

// keep adds a connection to the idle ones. It returns false after Close or Abort, and if there are enough.
func (c *Conns) keep(done *conn, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, isOpen := c.conns[done]; !isOpen || c.ctx.Err() != nil || len(c.idle) >= limit {
		return false
	}
	done.idleSince = time.Now()
	c.idle = append(c.idle, done)
	switch {
	case c.reaper == nil:
		c.reaper = time.AfterFunc(idleConnTimeout, c.reap)
	case len(c.idle) == 1:
		c.reaper.Reset(idleConnTimeout)
	}
	return true
}

// reap closes the connections that were idle for too long, and comes back for the next one.
func (c *Conns) reap() {
	c.mu.Lock()
	n := 0
	for n < len(c.idle) && time.Since(c.idle[n].idleSince) >= idleConnTimeout { // the oldest one is first
		n++
	}
	old := append([]*conn(nil), c.idle[:n]...)
	c.idle = append(c.idle[:0], c.idle[n:]...)
	clear(c.idle[len(c.idle):cap(c.idle)])
	if len(c.idle) > 0 {
		c.reaper.Reset(idleConnTimeout - time.Since(c.idle[0].idleSince))
	}
	c.mu.Unlock()
	closeAll(old)
}

// closeIdle closes the connections that no request uses.
func (c *Conns) closeIdle() {
	c.mu.Lock()
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	closeAll(idle)
}

func closeAll(conns []*conn) {
	for _, each := range conns {
		_ = each.Close() // it may be closed already
	}
}
