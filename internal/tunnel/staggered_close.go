package tunnel

import (
	"math/rand/v2"
	"sync"
	"time"
)

// staggeredClose closes tunnels one after the other, so that their clients do not all reconnect at the same time. It runs
// one goroutine while there are tunnels to close.
type staggeredClose struct {
	reason    string
	windowEnd time.Time
	added     chan struct{} // holds a value after a tunnel was added

	mu      sync.Mutex
	waiting []*tunnel
	quit    chan struct{} // closed to stop the goroutine; nil while none runs
	stopped bool
}

func newStaggeredClose(window time.Duration, reason string) *staggeredClose {
	return &staggeredClose{reason: reason, windowEnd: time.Now().Add(window), added: make(chan struct{}, 1)}
}

// add adds a tunnel.
func (c *staggeredClose) add(t *tunnel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := rand.IntN(len(c.waiting) + 1) // in random order, since the tunnels of one service are often opened one after the other
	c.waiting = append(c.waiting, t)
	last := len(c.waiting) - 1
	c.waiting[i], c.waiting[last] = c.waiting[last], c.waiting[i]
	select {
	case c.added <- struct{}{}:
	default: // the goroutine has not taken the earlier value yet
	}
	if c.quit == nil && !c.stopped {
		c.quit = make(chan struct{})
		go c.run(c.quit)
	}
}

// clear drops the waiting tunnels and stops the goroutine.
func (c *staggeredClose) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = nil
	if c.quit != nil {
		close(c.quit)
		c.quit = nil
	}
}

// stop ends the close for good. Tunnels that it has not closed stay open.
func (c *staggeredClose) stop() {
	c.clear()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
}

// run closes each tunnel at a random time within its share of the window. The shares follow each other. When tunnels are
// added, all shares become smaller, also the current one: it may be the whole window if there was only one tunnel.
func (c *staggeredClose) run(quit chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for begin := time.Now(); ; {
		share, ok := c.share(begin, quit)
		if !ok {
			return
		}
		timer.Reset(time.Until(begin.Add(rand.N(share + 1))))
		select {
		case <-timer.C:
		case <-c.added:
			continue
		case <-quit:
			return
		}
		for t := c.next(quit); t != nil && !t.close(c.reason, t.group.frameTimeout); {
			t = c.next(quit) // the one before had closed already and needs no share
		}
		begin = begin.Add(share)
	}
}

// share returns the part of the window that the next tunnel has. It is not ok if no tunnel waits.
func (c *staggeredClose) share(begin time.Time, quit chan struct{}) (share time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quit != quit {
		return 0, false
	}
	if len(c.waiting) == 0 {
		c.quit = nil
		return 0, false
	}
	return max(0, c.windowEnd.Sub(begin)) / time.Duration(len(c.waiting)), true
}

// next removes a tunnel and returns it, or nil if none waits.
func (c *staggeredClose) next(quit chan struct{}) *tunnel {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.waiting) - 1
	if c.quit != quit || last < 0 {
		return nil
	}
	t := c.waiting[last]
	c.waiting = c.waiting[:last]
	return t
}
