package tunnel

import (
	"net"
	"sync"
	"time"
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// term is how long a direction may last. It owns the read deadline of the direction's source and the write deadline of
// its destination: that is how others wake a direction that waits in a read or in a write. A term can be cut short,
// but not made longer.
type term struct {
	src, dst net.Conn

	mu    sync.Mutex
	end   time.Time // zero: there is none yet
	asked bool      // to say farewell
}

// ask wakes the direction to say farewell and be over at the end. Of that time, replyTime is for what comes after.
func (m *term) ask(end time.Time) { m.shorten(end, true, end.Add(-replyTime)) }

// limit has the direction be over at the end, going on as before until then.
func (m *term) limit(end time.Time) { m.shorten(end, false, end) }

func (m *term) shorten(end time.Time, ask bool, write time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = m.asked || ask
	if m.end.IsZero() || end.Before(m.end) {
		m.end = end
	}
	if m.end.Before(write) {
		write = m.end
	}
	// An error of a deadline means that the connection is closed, which wakes too.
	_ = m.src.SetReadDeadline(past)
	_ = m.dst.SetWriteDeadline(write)
}

// renew sets the deadlines anew after a read timed out, and says what the direction has to do.
func (m *term) renew() (asked, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.src.SetReadDeadline(m.end)
	return m.asked, !m.end.IsZero() && !time.Now().Before(m.end)
}

// ending reports whether the term has an end.
func (m *term) ending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.end.IsZero()
}

// briefly limits the next read to so long, unless the term has an end: then reads are limited anyway.
func (m *term) briefly(wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.end.IsZero() {
		_ = m.src.SetReadDeadline(time.Now().Add(wait))
	}
}

// forFrame leaves the direction the time to finish a frame.
func (m *term) forFrame() { m.reserve(replyTime) }

// forReply leaves it all the time there is.
func (m *term) forReply() { m.reserve(0) }

func (m *term) reserve(rest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.end.IsZero() {
		_ = m.src.SetReadDeadline(m.end.Add(-rest))
		_ = m.dst.SetWriteDeadline(m.end.Add(-rest))
	}
}
