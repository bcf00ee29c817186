package edge

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/timeline"
)

// exhaustionLogInterval is the shortest time between two log lines about exhausted resources.
const exhaustionLogInterval = 10 * time.Second

// exhaustionMonitor counts the attempts that failed because the edge ran out of file descriptors, ports or memory.
type exhaustionMonitor struct {
	counts     counters
	lastLogged atomic.Int64 // time of the last log line, in Unix nanoseconds

	mu   sync.Mutex
	last map[resource.Kind]time.Time
}

// exhaustionShown is how long after the last attempt that failed a resource is shown as exhausted.
const exhaustionShown = time.Minute

// Exhaustion is a resource of the edge that it has run out of.
type Exhaustion struct {
	Resource resource.Kind `json:"resource"`
	Last     time.Time     `json:"last"` // when the last attempt failed for it
	Hint     string        `json:"hint"` // what an operator can do
}

// note notes an attempt that failed, and reports whether it is the first one for a while.
func (m *exhaustionMonitor) note(kind resource.Kind, now time.Time) (isFirst bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = make(map[resource.Kind]time.Time)
	}
	isFirst = now.Sub(m.last[kind]) > exhaustionShown
	m.last[kind] = now
	return isFirst
}

// recent returns what the edge has run out of in the last minute.
func (m *exhaustionMonitor) recent(now time.Time) []Exhaustion {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Exhaustion
	for kind, last := range m.last {
		if now.Sub(last) <= exhaustionShown {
			all = append(all, Exhaustion{kind, last.UTC(), kind.Hint()})
		}
	}
	slices.SortFunc(all, func(a, b Exhaustion) int { return b.Last.Compare(a.Last) })
	return all
}

// getExhaustion answers with what the edge has run out of in the last minute, a list of [Exhaustion].
func getExhaustion(*http.Request) (any, error) {
	all := []Exhaustion{}
	if r := sharedRuntime(); r != nil {
		all = append(all, r.exhaustion.recent(time.Now())...)
	}
	return all, nil
}

// ReportExhausted counts an attempt that failed because a resource of the edge is exhausted, and logs it.
func (a *App) ReportExhausted(kind resource.Kind, err error) {
	m := &a.runtime.exhaustion
	m.counts.add(string(kind))
	if m.note(kind, time.Now()) {
		a.runtime.note(timeline.Resource, timeline.Error, "the edge has run out of "+string(kind))
	}
	now, last := time.Now().UnixNano(), m.lastLogged.Load()
	if now-last < int64(exhaustionLogInterval) || !m.lastLogged.CompareAndSwap(last, now) {
		return
	}
	a.log.Error("the edge has run out of "+string(kind)+": requests wait until it has some again",
		zap.String("hint", kind.Hint()), zap.Error(err))
}
