package maintenance_test

import (
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/maintenance"
)

// over reports whether a closure holds no more.
func over(c *maintenance.Closure) bool {
	select {
	case <-c.Over():
		return true
	default:
		return false
	}
}

func TestABoardTellsWhatIsNewAndWakesWhomItConcerns(t *testing.T) {
	var board maintenance.Board
	if board.Book() != nil {
		t.Fatal("an empty board has a book")
	}
	book := new(maintenance.Book).With(closure("a:80"), closure("b:80"), closure("c:80"))
	closed, opened, changed := board.Put(book)
	if names(closed) != "a:80 b:80 c:80" || len(opened)+len(changed) > 0 {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	a, b, c := board.Book().Closure("a:80"), board.Book().Closure("b:80"), board.Book().Closure("c:80")
	next := new(maintenance.Book).With(closure("a:80"), closure("d:80"), closure("c:80", func(c *maintenance.Closure) { c.Hold = true }))
	closed, opened, changed = board.Put(next)
	if names(closed) != "d:80" || names(opened) != "b:80" || names(changed) != "c:80" {
		t.Errorf("%v %v %v", closed, opened, changed)
	}
	if over(a) || !over(b) || !over(c) || board.Book().Closure("a:80") != a {
		t.Errorf("over: %t %t %t", over(a), over(b), over(c))
	}
	if board.Put(new(maintenance.Book)); !over(a) || len(board.Book().Closures()) != 0 {
		t.Error("it holds on")
	}
}

func TestWhoWakesFindsTheNewBook(t *testing.T) {
	var board maintenance.Board
	var readers sync.WaitGroup
	board.Put(new(maintenance.Book).With(closure("a:80")))
	for range 4 {
		readers.Go(func() {
			for c := board.Book().Closure("a:80"); c != nil; {
				<-c.Over()
				next := board.Book().Closure("a:80")
				if next == c {
					t.Error("a closure that is over is still up")
				}
				c = next
			}
		})
	}
	for i := range 1000 {
		board.Put(new(maintenance.Book).With(closure("a:80", func(c *maintenance.Closure) { c.Hold = i%2 == 0 })))
	}
	board.Put(nil)
	readers.Wait()
}

func BenchmarkNothingIsClosed(b *testing.B) {
	var board maintenance.Board
	board.Put(new(maintenance.Book))
	for b.Loop() {
		if board.Book().Closure("bigcapital-server:3000") != nil {
			b.Fatal("it is closed")
		}
	}
}
