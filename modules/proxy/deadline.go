package proxy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errLate ends an attempt whose answer did not begin in time.
var errLate = errors.New("the answer took too long to begin")

// deadline ends an attempt when its answer does not begin in time. The time does not run while the client is waited for:
// an upload may take as long as the line needs. It runs while the endpoint is: to answer, or to read on.
type deadline struct {
	after  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// newDeadline returns a deadline that has not begun; after 0 there is none.
func newDeadline(after time.Duration, cancel context.CancelCauseFunc) *deadline {
	return &deadline{after: after, cancel: cancel}
}

// begin starts the time anew: the endpoint has all that the client sent so far.
func (d *deadline) begin() {
	if d.after <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
	case d.timer == nil:
		d.timer = time.AfterFunc(d.after, func() { d.cancel(errLate) })
	default:
		d.timer.Reset(d.after)
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

// stop ends the time for good: the answer has begun, or the attempt is over.
func (d *deadline) stop() {
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.pause()
}
