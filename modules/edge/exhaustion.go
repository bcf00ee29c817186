package edge

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/resource"
)

// exhaustedEvery is how often the log says that the edge has run out of something, as long as it has.
const exhaustedEvery = 10 * time.Second

// exhaustion notes that the edge has run out of descriptors, ports or memory.
type exhaustion struct {
	counts counters
	said   atomic.Int64 // when the log said so last, in Unix nanoseconds
}

// NoteExhausted counts an attempt that failed because the edge has run out of something, and says so in the log.
func (a *App) NoteExhausted(kind resource.Kind, err error) {
	x := &a.living.exhausted
	x.counts.add(string(kind))
	now, said := time.Now().UnixNano(), x.said.Load()
	if now-said < int64(exhaustedEvery) || !x.said.CompareAndSwap(said, now) {
		return
	}
	a.log.Error("the edge has run out of "+string(kind)+": requests wait until it has some again",
		zap.String("hint", kind.Hint()), zap.Error(err))
}
