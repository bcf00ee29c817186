package maintenance

import (
	"sync"
	"sync/atomic"
)

// State holds the snapshot in force, where requests look up whether a service is closed. It is safe for concurrent use, and a lookup
// takes no lock. The zero State has no snapshot yet.
type State struct {
	current atomic.Pointer[Snapshot]
	mu      sync.Mutex // serializes Replace
}

// Snapshot returns the snapshot in force; nil before the first [State.Replace].
func (s *State) Snapshot() *Snapshot { return s.current.Load() }

// Replace puts another snapshot in force. A window that is equal in both stays the same, and requests that wait for its end go on
// waiting; Done of every other old window is closed. Replace returns the windows that begin, those that end, and those that replace a
// window of the same service with other settings.
func (s *State) Replace(next *Snapshot) (closed, opened, changed []*Window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	previous := s.current.Load()
	windows := next.clone()
	var ended []*Window
	for _, w := range next.Windows() {
		switch old := previous.exactWindow(w.Service); {
		case old == nil:
			closed = append(closed, w)
		case old.equal(w):
			windows[w.Service] = old
		default:
			changed = append(changed, w)
			ended = append(ended, old)
		}
	}
	for _, old := range previous.Windows() {
		if next.exactWindow(old.Service) == nil {
			opened = append(opened, old)
			ended = append(ended, old)
		}
	}
	s.current.Store(newSnapshot(windows))
	for _, old := range ended { // after the store, because those who wait then look up the window anew
		close(old.done)
	}
	return closed, opened, changed
}
