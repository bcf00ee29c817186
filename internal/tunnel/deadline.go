package tunnel

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// aLongTimeAgo is a deadline that has passed: it ends a pending read at once.
var aLongTimeAgo = time.Unix(1, 0)

// deadline limits how long a direction may last. It owns the read deadline of the direction's source and the write deadline
// of its destination, through which other goroutines wake a direction that waits in a read or in a write. It can be brought
// forward, but not put off.
type deadline struct {
	src, dst net.Conn

	mu             sync.Mutex
	at             time.Time   // zero while the direction may last for ever
	closeRequested atomic.Bool // the direction has to send a close frame
}

// requestClose wakes the direction, which sends a close frame and ends at the given time. The last replyTimeout before it
// is for the answer: writes have to be done by then.
func (d *deadline) requestClose(at time.Time) { d.shorten(at, true, at.Add(-replyTimeout)) }

// limit makes the direction end at the given time. It goes on as before until then.
func (d *deadline) limit(at time.Time) { d.shorten(at, false, at) }

func (d *deadline) shorten(at time.Time, requestClose bool, writeBy time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if requestClose {
		d.closeRequested.Store(true)
	}
	if d.at.IsZero() || at.Before(d.at) {
		d.at = at
	}
	if d.at.Before(writeBy) {
		writeBy = d.at
	}
	// These fail only on a closed connection, whose reads and writes have returned.
	_ = d.src.SetReadDeadline(aLongTimeAgo)
	_ = d.dst.SetWriteDeadline(writeBy)
}

// rearm sets the read deadline again after a read timed out, and returns what the direction has to do.
func (d *deadline) rearm() (closeRequested, expired bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.src.SetReadDeadline(d.at)
	return d.closeRequested.Load(), !d.at.IsZero() && !time.Now().Before(d.at)
}

// isSet reports whether the direction has to end at some time.
func (d *deadline) isSet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero()
}

// limitNextRead lets the next read time out after the given time, unless the deadline is set: it limits all reads then.
func (d *deadline) limitNextRead(timeout time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		_ = d.src.SetReadDeadline(time.Now().Add(timeout))
	}
}

// setForFrame gives the direction the time before the last replyTimeout, to finish a frame.
func (d *deadline) setForFrame() { d.setBefore(replyTimeout) }

// setForReply gives the direction all the time until the deadline.
func (d *deadline) setForReply() { d.setBefore(0) }

func (d *deadline) setBefore(reserve time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() {
		_ = d.src.SetReadDeadline(d.at.Add(-reserve))
		_ = d.dst.SetWriteDeadline(d.at.Add(-reserve))
	}
}
