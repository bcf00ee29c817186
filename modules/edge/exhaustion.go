package edge

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/resource"
)

// exhaustionLogInterval is how often the log says that the edge has run out of something, as long as it has.
const exhaustionLogInterval = 10 * time.Second

// exhaustionMonitor notes that the edge has run out of descriptors, ports or memory.
type exhaustionMonitor struct {
	counts     counters
	lastLogged atomic.Int64 // when the log said so last, in Unix nanoseconds
}

// ReportExhausted counts an attempt that failed because the edge has run out of something, and says so in the log.
func (a *App) ReportExhausted(kind resource.Kind, err error) {
	x := &a.runtime.exhaustion
	x.counts.add(string(kind))
	now, said := time.Now().UnixNano(), x.lastLogged.Load()
	if now-said < int64(exhaustionLogInterval) || !x.lastLogged.CompareAndSwap(said, now) {
		return
	}
	a.log.Error("the edge has run out of "+string(kind)+": requests wait until it has some again",
		zap.String("hint", kind.Hint()), zap.Error(err))
}
