package tunnel

import (
	"net"
	"sync"
	"time"
)

// aLongTimeAgo is a deadline that is over.
var aLongTimeAgo = time.Unix(1, 0)

// deadline is how long a direction may last. It owns the read deadline of the direction's source and the write deadline of
// its destination: that is how others wake a direction that waits in a read or in a write. A term can be cut short,
// but not made longer.
type deadline struct {
	src, dst net.Conn

	mu             sync.Mutex
	at             time.Time // zero: there is none yet
	closeRequested bool      // to say farewell
}

// requestClose wakes the direction to say farewell and be over at the end. Of that time, replyTimeout is for what comes after.
func (m *deadline) requestClose(end time.Time) { m.shorten(end, true, end.Add(-replyTimeout)) }

// limit has the direction be over at the end, going on as before until then.
func (m *deadline) limit(end time.Time) { m.shorten(end, false, end) }

func (m *deadline) shorten(end time.Time, ask bool, write time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closeRequested = m.closeRequested || ask
	if m.at.IsZero() || end.Before(m.at) {
		m.at = end
	}
	if m.at.Before(write) {
		write = m.at
	}
	// An error of a deadline means that the connection is closed, which wakes too.
	_ = m.src.SetReadDeadline(aLongTimeAgo)
	_ = m.dst.SetWriteDeadline(write)
}

// rearm sets the deadlines anew after a read timed out, and says what the direction has to do.
func (m *deadline) rearm() (asked, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.src.SetReadDeadline(m.at)
	return m.closeRequested, !m.at.IsZero() && !time.Now().Before(m.at)
}

// isSet reports whether the term has an end.
func (m *deadline) isSet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.at.IsZero()
}

// limitNextRead limits the next read to so long, unless the term has an end: then reads are limited anyway.
func (m *deadline) limitNextRead(wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() {
		_ = m.src.SetReadDeadline(time.Now().Add(wait))
	}
}

// setForFrame leaves the direction the time to finish a frame.
func (m *deadline) setForFrame() { m.reserve(replyTimeout) }

// setForReply leaves it all the time there is.
func (m *deadline) setForReply() { m.reserve(0) }

func (m *deadline) reserve(rest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.at.IsZero() {
		_ = m.src.SetReadDeadline(m.at.Add(-rest))
		_ = m.dst.SetWriteDeadline(m.at.Add(-rest))
	}
}
