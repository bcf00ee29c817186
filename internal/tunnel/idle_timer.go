package tunnel

import (
	"sync/atomic"
	"time"
)

// idleTimer closes a tunnel that is idle for the timeout. It runs once per timeout, not once per read.
type idleTimer struct {
	tunnel       *tunnel
	timeout      time.Duration
	lastActivity atomic.Int64 // nanoseconds from the tunnel's start to the last write
	timer        *time.Timer
}

func newIdleTimer(timeout time.Duration, t *tunnel) *idleTimer {
	i := &idleTimer{tunnel: t, timeout: timeout}
	i.timer = time.AfterFunc(time.Hour, i.closeIfIdle) // not the timeout yet: closeIfIdle uses i.timer, which is not set
	i.timer.Reset(timeout)
	return i
}

// recordActivity is called whenever bytes were forwarded.
func (i *idleTimer) recordActivity() { i.lastActivity.Store(int64(time.Since(i.tunnel.startedAt))) }

func (i *idleTimer) stop() { i.timer.Stop() }

func (i *idleTimer) closeIfIdle() {
	left := i.timeout - (time.Since(i.tunnel.startedAt) - time.Duration(i.lastActivity.Load()))
	if left > 0 {
		i.timer.Reset(left)
		return
	}
	i.tunnel.close("idle", i.tunnel.group.frameTimeout)
}
