// Package gcpace has the garbage collector of a process with a small heap run less often.
//
// Go collects when the heap has grown by as much as is in use. An edge uses few megabytes, so that it collects many times a second under load,
// which takes a tenth of its processor time. With room for some more megabytes, it takes a part of that. A process with a large heap, such as one
// with many WebSockets, is not affected.
package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Room is by how many bytes the heap may grow at least between two collections.
const Room = 32 << 20

// defaultPercent is Go's own GOGC.
const defaultPercent = 100

var once sync.Once

// Start gives the process room, from its next collection on, unless the environment has GOGC. Calls after the first do nothing. GOMEMLIMIT holds
// as ever.
func Start() {
	once.Do(func() {
		if os.Getenv("GOGC") == "" {
			p := &pacer{percent: defaultPercent, set: func(percent int) { debug.SetGCPercent(percent) }}
			afterEachCollection(func() { p.adjust(live()) })
		}
	})
}

// pacer sets the percentage by which the heap may grow.
type pacer struct {
	percent int
	set     func(percent int)
}

// sentinel is collected by each collection.
type sentinel struct{ self *sentinel }

// afterEachCollection calls f after the next collection, and after those that follow.
func afterEachCollection(f func()) {
	runtime.AddCleanup(&sentinel{new(sentinel)}, func(f func()) {
		f()
		afterEachCollection(f)
	}, f)
}

// live returns how many bytes were in use at the last collection.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return Room // a version of Go without it
	}
	return sample[0].Value.Uint64()
}

// adjust sets the percentage, unless it is about what it was: to set it stops the program for some microseconds.
func (p *pacer) adjust(live uint64) {
	percent := percentFor(live)
	if diff := percent - p.percent; max(diff, -diff)*10 <= p.percent {
		return
	}
	p.percent = percent
	p.set(percent)
}

// percentFor returns by how many percent a heap may grow.
func percentFor(live uint64) int {
	return max(defaultPercent, int(100*Room/max(live, 1<<20)))
}
