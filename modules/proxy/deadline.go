package proxy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errResponseTimeout ends an attempt whose answer did not begin in time.
var errResponseTimeout = errors.New("the answer took too long to begin")

// deadline ends an attempt when its answer does not begin in time. The time does not run while the client is waited for:
// an upload may take as long as the line needs. It runs while the endpoint is: to answer, or to read on.
type deadline struct {
	timeout time.Duration
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	fired   bool
}

// newDeadline returns a deadline that has not begun; after 0 there is none.
func newDeadline(after time.Duration, cancel context.CancelCauseFunc) *deadline {
	return &deadline{timeout: after, cancel: cancel}
}

// start starts the time anew: the endpoint has all that the client sent so far.
func (d *deadline) start() {
	if d.timeout <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopped:
	case d.timer == nil:
		d.timer = time.AfterFunc(d.timeout, d.fire)
	default:
		d.timer.Reset(d.timeout)
	}
}

// fire ends the attempt, unless its answer has begun.
func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		d.fired = true
		d.cancel(errResponseTimeout)
	}
}

// pause stops the time: the client is waited for.
func (d *deadline) pause() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// stop ends the time for good: the answer has begun, or the attempt is over. It reports whether that was in time.
func (d *deadline) stop() (inTime bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
	return !d.fired
}
