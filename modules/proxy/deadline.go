package proxy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errLate ends an attempt whose answer did not begin in time.
var errLate = errors.New("the answer took too long to begin")

// deadline ends an attempt when its answer does not begin within a time after the request was sent. The time does not
// run while the client sends its body: an upload may take as long as the line needs.
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

// begin starts the time: the request has been sent.
func (d *deadline) begin() {
	if d.after <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over && d.timer == nil {
		d.timer = time.AfterFunc(d.after, func() { d.cancel(errLate) })
	}
}

// stop ends the time: the answer has begun, or the attempt is over.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.timer != nil {
		d.timer.Stop()
	}
}
