package maintenance_test

import (
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/maintenance"
)

// isDone reports whether a window is no longer in force.
func isDone(c *maintenance.Window) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func TestReplaceReportsChangesAndEndsOldWindows(t *testing.T) {
	var state maintenance.State
	if state.Snapshot() != nil {
		t.Fatal("the zero State has a snapshot")
	}
	snapshot := new(maintenance.Snapshot).With(newWindow("a:80"), newWindow("b:80"), newWindow("c:80"))
	closed, opened, changed := state.Replace(snapshot)
	if serviceNames(closed) != "a:80 b:80 c:80" || len(opened)+len(changed) > 0 {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	a, b, c := state.Snapshot().Window("a:80"), state.Snapshot().Window("b:80"), state.Snapshot().Window("c:80")
	next := new(maintenance.Snapshot).With(newWindow("a:80"), newWindow("d:80"), newWindow("c:80", func(c *maintenance.Window) { c.Hold = true }))
	closed, opened, changed = state.Replace(next)
	if serviceNames(closed) != "d:80" || serviceNames(opened) != "b:80" || serviceNames(changed) != "c:80" {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	if isDone(a) || !isDone(b) || !isDone(c) || state.Snapshot().Window("a:80") != a {
		t.Errorf("done: %t %t %t", isDone(a), isDone(b), isDone(c))
	}
	if state.Replace(new(maintenance.Snapshot)); !isDone(a) || len(state.Snapshot().Windows()) != 0 {
		t.Error("a window is still in force after Replace with an empty snapshot")
	}
}

func TestWaitersSeeTheNewSnapshot(t *testing.T) {
	var state maintenance.State
	var readers sync.WaitGroup
	state.Replace(new(maintenance.Snapshot).With(newWindow("a:80")))
	for range 4 {
		readers.Go(func() {
			for c := state.Snapshot().Window("a:80"); c != nil; {
				<-c.Done()
				next := state.Snapshot().Window("a:80")
				if next == c {
					t.Error("Snapshot returns a window that has ended")
				}
				c = next
			}
		})
	}
	for i := range 1000 {
		state.Replace(new(maintenance.Snapshot).With(newWindow("a:80", func(c *maintenance.Window) { c.Hold = i%2 == 0 })))
	}
	state.Replace(nil)
	readers.Wait()
}

func BenchmarkWindowWithoutMaintenance(b *testing.B) {
	var state maintenance.State
	state.Replace(new(maintenance.Snapshot))
	for b.Loop() {
		if state.Snapshot().Window("bigcapital-server:3000") != nil {
			b.Fatal("it is closed")
		}
	}
}
