package tunnel

import (
	"sync/atomic"
	"time"
)

// idle closes a tunnel in which nothing moved for a time. It looks once per timeout, not once per read.
type idle struct {
	tunnel  *tunnel
	timeout time.Duration
	last    atomic.Int64 // when something moved, after the tunnel's begin
	timer   *time.Timer
}

func newIdle(timeout time.Duration, t *tunnel) *idle {
	i := &idle{tunnel: t, timeout: timeout}
	i.timer = time.AfterFunc(time.Hour, i.look) // it runs no sooner than the field is set
	i.timer.Reset(timeout)
	return i
}

// moved says that a byte has moved.
func (i *idle) moved() { i.last.Store(int64(time.Since(i.tunnel.began))) }

func (i *idle) stop() { i.timer.Stop() }

func (i *idle) look() {
	left := i.timeout - (time.Since(i.tunnel.began) - time.Duration(i.last.Load()))
	if left > 0 {
		i.timer.Reset(left)
		return
	}
	i.tunnel.close("idle", frameTime)
}
