package ratelimit

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

const million = 1_000_000

var benchRate = Rate{Events: 100, Window: time.Hour, Burst: 100}

// intKey returns the hash of a number.
func intKey(l *Limiter, i uint64) uint64 {
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], i)
	return l.HashKey().Hash(key[:])
}

// newFilledLimiter returns a limiter with a million keys, and a function that reports its size.
func newFilledLimiter(b *testing.B) (*Limiter, func()) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := New(million)
	for i := range uint64(million) {
		l.Take(intKey(l, i), benchRate)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return l, func() {
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		b.ReportMetric(float64(l.CountKeys())/million*100, "%kept")
	}
}

// BenchmarkTakeAmongAMillionKeys measures a decision, with the key's hash, each on another key.
func BenchmarkTakeAmongAMillionKeys(b *testing.B) {
	l, report := newFilledLimiter(b)
	defer report()
	b.ReportAllocs()
	var i uint64
	for b.Loop() {
		l.Take(intKey(l, i%million), benchRate)
		i++
	}
}

// BenchmarkTakeAmongAMillionKeysInParallel measures the same on all cores at once.
func BenchmarkTakeAmongAMillionKeysInParallel(b *testing.B) {
	l, report := newFilledLimiter(b)
	defer report()
	b.ReportAllocs()
	var next atomic.Uint64
	b.RunParallel(func(p *testing.PB) {
		for i := next.Add(million / 7); p.Next(); i++ {
			l.Take(intKey(l, i%million), benchRate)
		}
	})
}

// BenchmarkTakeOfOneKeyInParallel measures the worst case for the lock: all requests have the same key.
func BenchmarkTakeOfOneKeyInParallel(b *testing.B) {
	l := New(million)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			l.Take(7, benchRate)
		}
	})
}
