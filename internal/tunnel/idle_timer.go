package tunnel

import (
	"sync/atomic"
	"time"
)

// idleTimer closes a tunnel in which nothing moved for a time. It looks once per timeout, not once per read.
type idleTimer struct {
	tunnel       *tunnel
	timeout      time.Duration
	lastActivity atomic.Int64 // when something moved, after the tunnel's begin
	timer        *time.Timer
}

func newIdleTimer(timeout time.Duration, t *tunnel) *idleTimer {
	i := &idleTimer{tunnel: t, timeout: timeout}
	i.timer = time.AfterFunc(time.Hour, i.check) // it runs no sooner than the field is set
	i.timer.Reset(timeout)
	return i
}

// recordActivity says that a byte has moved.
func (i *idleTimer) recordActivity() { i.lastActivity.Store(int64(time.Since(i.tunnel.startedAt))) }

func (i *idleTimer) stop() { i.timer.Stop() }

func (i *idleTimer) check() {
	left := i.timeout - (time.Since(i.tunnel.startedAt) - time.Duration(i.lastActivity.Load()))
	if left > 0 {
		i.timer.Reset(left)
		return
	}
	i.tunnel.close("idle", frameTimeout)
}
