package maintenance

import (
	"sync"
	"sync/atomic"
)

// Board is where requests look up whether a service is closed. It is safe for concurrent use, and looking takes no lock.
// The zero Board has no book yet.
type Board struct {
	current atomic.Pointer[Book]
	mu      sync.Mutex // for those who put one up
}

// Book returns what holds now; nil before the first [Board.Put].
func (b *Board) Book() *Book { return b.current.Load() }

// Put has another book hold from now on. Closures that are the same in both go on; those who wait for the end of one that is
// not are woken. It returns what was closed, what was opened, and whose terms are others now.
func (b *Board) Put(next *Book) (closed, opened, changed []*Closure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.current.Load()
	book := next.copy()
	var over []*Closure
	for _, c := range next.Closures() {
		switch old := was.Closure(c.Service); {
		case old == nil:
			closed = append(closed, c)
		case old.same(c):
			book.closures[c.Service] = old
		default:
			changed = append(changed, c)
			over = append(over, old)
		}
	}
	for _, old := range was.Closures() {
		if next.Closure(old.Service) == nil {
			opened = append(opened, old)
			over = append(over, old)
		}
	}
	b.current.Store(book)
	for _, old := range over { // after the store: those who wake look again
		close(old.over)
	}
	return closed, opened, changed
}
