package gcpace

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestSmallHeapsHaveRoom(t *testing.T) {
	for live, want := range map[uint64]int{0: 3200, 1 << 20: 3200, 4 << 20: 800, 16 << 20: 200, 32 << 20: 100, 10 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes in use: %d %%, want %d %%", live, got, want)
		}
	}
}

func TestSmallChangesAreNotSet(t *testing.T) {
	var set []int
	p := &pacer{percent: 100, set: func(percent int) { set = append(set, percent) }}
	for _, live := range []uint64{31 << 20, 8 << 20, 8<<20 + 1000, 7800 << 10, 4 << 20, 100 << 20} {
		p.adjust(live)
	}
	if len(set) != 3 || set[0] != 400 || set[1] != 800 || set[2] != 100 {
		t.Errorf("set %v", set)
	}
}

func TestEachCollectionIsNoticed(t *testing.T) {
	var noticed atomic.Int32
	afterEachCollection(func() { noticed.Add(1) })
	for range 3 {
		before := noticed.Load()
		for deadline := time.Now().Add(10 * time.Second); noticed.Load() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a collection is not noticed")
			}
			runtime.GC()
		}
	}
}

func TestMemoryInUseIsKnown(t *testing.T) {
	runtime.GC()
	if n := live(); n == 0 || n == Room {
		t.Errorf("%d bytes are in use", n)
	}
	Start()
	Start()
}
