package proxy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errResponseTimeout is why an attempt failed whose response did not begin in time.
var errResponseTimeout = errors.New("the response did not begin in time")

// deadline cancels an attempt whose response does not begin in time. Its timer runs while the edge waits for the endpoint, to
// respond or to read the body. It is paused while the edge waits for the client, because an upload may take any time. A nil
// deadline is no limit.
type deadline struct {
	timeout time.Duration
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	fired   bool
}

// withDeadline returns a context that a deadline cancels, and the deadline, which has not started. A timeout of 0 is no limit.
func withDeadline(ctx context.Context, timeout time.Duration) (context.Context, *deadline) {
	if timeout <= 0 {
		return ctx, nil
	}
	d := &deadline{timeout: timeout}
	ctx, d.cancel = context.WithCancelCause(ctx)
	return ctx, d
}

// start restarts the timer: the endpoint has everything that the client has sent so far.
func (d *deadline) start() {
	if d == nil {
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

// fire cancels the attempt, unless its response has begun.
func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopped {
		d.fired = true
		d.cancel(errResponseTimeout)
	}
}

// pause stops the timer while the edge waits for the client.
func (d *deadline) pause() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// stop ends the deadline, because the response has begun or the attempt has failed. It reports whether that was in time.
func (d *deadline) stop() (inTime bool) {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
	return !d.fired
}

// release frees the context. It cancels what still runs under it.
func (d *deadline) release() {
	if d != nil {
		d.cancel(nil)
	}
}
