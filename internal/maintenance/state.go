package maintenance

import (
	"sync"
	"sync/atomic"
)

// State is where requests look up whether a service is closed. It is safe for concurrent use, and looking takes no lock.
// The zero Board has no book yet.
type State struct {
	current atomic.Pointer[Snapshot]
	mu      sync.Mutex // for those who put one up
}

// Snapshot returns what holds now; nil before the first [State.Replace].
func (b *State) Snapshot() *Snapshot { return b.current.Load() }

// Replace has another book hold from now on. Closures that are the same in both go on; those who wait for the end of one that is
// not are woken. It returns what was closed, what was opened, and whose terms are others now.
func (b *State) Replace(next *Snapshot) (closed, opened, changed []*Window) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.current.Load()
	book := next.clone()
	var over []*Window
	for _, c := range next.Windows() {
		switch old := was.Window(c.Service); {
		case old == nil:
			closed = append(closed, c)
		case old.equal(c):
			book.windows[c.Service] = old
		default:
			changed = append(changed, c)
			over = append(over, old)
		}
	}
	for _, old := range was.Windows() {
		if next.Window(old.Service) == nil {
			opened = append(opened, old)
			over = append(over, old)
		}
	}
	b.current.Store(book)
	for _, old := range over { // after the store: those who wake look again
		close(old.done)
	}
	return closed, opened, changed
}
