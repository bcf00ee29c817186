package edge

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/resource"
)

// exhaustionLogInterval is the shortest time between two log lines about exhausted resources.
const exhaustionLogInterval = 10 * time.Second

// exhaustionMonitor counts the attempts that failed because the edge ran out of file descriptors, ports or memory.
type exhaustionMonitor struct {
	counts     counters
	lastLogged atomic.Int64 // time of the last log line, in Unix nanoseconds
}

// ReportExhausted counts an attempt that failed because a resource of the edge is exhausted, and logs it.
func (a *App) ReportExhausted(kind resource.Kind, err error) {
	m := &a.runtime.exhaustion
	m.counts.add(string(kind))
	now, last := time.Now().UnixNano(), m.lastLogged.Load()
	if now-last < int64(exhaustionLogInterval) || !m.lastLogged.CompareAndSwap(last, now) {
		return
	}
	a.log.Error("the edge has run out of "+string(kind)+": requests wait until it has some again",
		zap.String("hint", kind.Hint()), zap.Error(err))
}
