package maintenance_test

import (
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/maintenance"
)

// isDone reports whether a closure holds no more.
func isDone(c *maintenance.Window) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func TestReplaceReportsChangesAndEndsOldWindows(t *testing.T) {
	var board maintenance.State
	if board.Snapshot() != nil {
		t.Fatal("an empty board has a book")
	}
	book := new(maintenance.Snapshot).With(newWindow("a:80"), newWindow("b:80"), newWindow("c:80"))
	closed, opened, changed := board.Replace(book)
	if serviceNames(closed) != "a:80 b:80 c:80" || len(opened)+len(changed) > 0 {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	a, b, c := board.Snapshot().Window("a:80"), board.Snapshot().Window("b:80"), board.Snapshot().Window("c:80")
	next := new(maintenance.Snapshot).With(newWindow("a:80"), newWindow("d:80"), newWindow("c:80", func(c *maintenance.Window) { c.Hold = true }))
	closed, opened, changed = board.Replace(next)
	if serviceNames(closed) != "d:80" || serviceNames(opened) != "b:80" || serviceNames(changed) != "c:80" {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	if isDone(a) || !isDone(b) || !isDone(c) || board.Snapshot().Window("a:80") != a {
		t.Errorf("over: %t %t %t", isDone(a), isDone(b), isDone(c))
	}
	if board.Replace(new(maintenance.Snapshot)); !isDone(a) || len(board.Snapshot().Windows()) != 0 {
		t.Error("it holds on")
	}
}

func TestWaitersSeeTheNewSnapshot(t *testing.T) {
	var board maintenance.State
	var readers sync.WaitGroup
	board.Replace(new(maintenance.Snapshot).With(newWindow("a:80")))
	for range 4 {
		readers.Go(func() {
			for c := board.Snapshot().Window("a:80"); c != nil; {
				<-c.Done()
				next := board.Snapshot().Window("a:80")
				if next == c {
					t.Error("a closure that is over is still up")
				}
				c = next
			}
		})
	}
	for i := range 1000 {
		board.Replace(new(maintenance.Snapshot).With(newWindow("a:80", func(c *maintenance.Window) { c.Hold = i%2 == 0 })))
	}
	board.Replace(nil)
	readers.Wait()
}

func BenchmarkWindowWithoutMaintenance(b *testing.B) {
	var board maintenance.State
	board.Replace(new(maintenance.Snapshot))
	for b.Loop() {
		if board.Snapshot().Window("bigcapital-server:3000") != nil {
			b.Fatal("it is closed")
		}
	}
}
