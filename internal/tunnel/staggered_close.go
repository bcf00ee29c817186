package tunnel

import (
	"math/rand/v2"
	"sync"
	"time"
)

// staggeredClose closes tunnels one after the other, so that not all of their clients come back at the same instant. It runs one
// goroutine, as long as there is something to close.
type staggeredClose struct {
	reason string
	end    time.Time
	added  chan struct{} // told when a tunnel was added

	mu      sync.Mutex
	waiting []*tunnel
	quit    chan struct{} // nil when no goroutine runs; closed to stop it
	stopped bool
}

func newStaggeredClose(window time.Duration, reason string) *staggeredClose {
	return &staggeredClose{reason: reason, end: time.Now().Add(window), added: make(chan struct{}, 1)}
}

// add adds a tunnel.
func (w *staggeredClose) add(t *tunnel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := rand.IntN(len(w.waiting) + 1) // a random order: those of one service came one after the other
	w.waiting = append(w.waiting, t)
	last := len(w.waiting) - 1
	w.waiting[i], w.waiting[last] = w.waiting[last], w.waiting[i]
	select {
	case w.added <- struct{}{}:
	default: // it has been told, and has not looked yet
	}
	if w.quit == nil && !w.stopped {
		w.quit = make(chan struct{})
		go w.run(w.quit)
	}
}

// clear drops the tunnels: all are over.
func (w *staggeredClose) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = nil
	if w.quit != nil {
		close(w.quit)
		w.quit = nil
	}
}

// stop ends the wave. What it has not closed stays.
func (w *staggeredClose) stop() {
	w.clear()
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
}

// run closes each tunnel at a random time of its share of the window. The shares follow each other, and become smaller
// when tunnels are added: also the one that has begun, because it may have been the whole window, when there was one tunnel.
func (w *staggeredClose) run(running chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for begin := time.Now(); ; {
		share, ok := w.share(begin, running)
		if !ok {
			return
		}
		timer.Reset(time.Until(begin.Add(rand.N(share + 1))))
		select {
		case <-timer.C:
		case <-w.added:
			continue
		case <-running:
			return
		}
		for t := w.next(running); t != nil && !t.close(w.reason, frameTimeout); {
			t = w.next(running) // that one was over already and needs no share
		}
		begin = begin.Add(share)
	}
}

// share returns how much of the window there is for the next tunnel. It is not ok when none waits.
func (w *staggeredClose) share(begin time.Time, running chan struct{}) (share time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.quit != running {
		return 0, false
	}
	if len(w.waiting) == 0 {
		w.quit = nil
		return 0, false
	}
	return max(0, w.end.Sub(begin)) / time.Duration(len(w.waiting)), true
}

// next takes a tunnel out, or returns nil when none waits.
func (w *staggeredClose) next(running chan struct{}) *tunnel {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.waiting) - 1
	if w.quit != running || last < 0 {
		return nil
	}
	t := w.waiting[last]
	w.waiting = w.waiting[:last]
	return t
}
