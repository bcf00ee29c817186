package tunnel

import (
	"context"
	"sync"
	"time"
)

// Group is tunnels that are closed together: those of an endpoint, within those of the process. It is safe for
// concurrent use.
type Group struct {
	parent *Group

	mu              sync.Mutex
	tunnels         map[*tunnel]struct{}
	allClosed       chan struct{}   // closed when the last tunnel is over; nil if nobody waits
	draining        *staggeredClose // that closes them; nil if they may stay
	closingExisting *staggeredClose // that closes those that were open when it began; nil if there was none
}

// NewGroup returns a group whose tunnels belong to the parent too. The parent may be nil. A group that is not needed
// any more needs no closing.
func NewGroup(parent *Group) *Group {
	return &Group{parent: parent, tunnels: make(map[*tunnel]struct{})}
}

// Open begins to copy between two connections and returns at once. If the group or a parent is being drained, the
// tunnel is closed like the others; after the drain's window at once.
func (g *Group) Open(ends Config) {
	t := newTunnel(g, ends)
	ends.Traffic.opened()
	for at := g; at != nil; at = at.parent {
		at.add(t)
	}
	t.start()
}

func (g *Group) add(t *tunnel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tunnels[t] = struct{}{}
	if g.draining != nil {
		g.draining.add(t)
	}
}

// remove forgets a tunnel that is over, here and in the parents.
func (g *Group) remove(t *tunnel) {
	for ; g != nil; g = g.parent {
		g.mu.Lock()
		delete(g.tunnels, t)
		if len(g.tunnels) == 0 {
			if g.draining != nil {
				g.draining.clear()
			}
			if g.closingExisting != nil {
				g.closingExisting.clear()
			}
			if g.allClosed != nil {
				close(g.allClosed)
				g.allClosed = nil
			}
		}
		g.mu.Unlock()
	}
}

// Drain begins to close the tunnels, spread evenly over the window, each at a random time of its share. It returns at
// once. A tunnel's close takes at most 3 s: what has begun of a frame is finished, both ends of a WebSocket get a close
// frame with 1001, those of any other protocol the end of the stream, and there is time for the answer. Tunnels that
// are opened later are closed too, until [Group.Resume]. A further Drain replaces the one before.
func (g *Group) Drain(window time.Duration, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining != nil {
		g.draining.stop()
	}
	g.draining = newStaggeredClose(window, reason)
	for t := range g.tunnels {
		g.draining.add(t)
	}
}

// Resume ends a drain. The tunnels that it has not closed yet stay, and new ones too.
func (g *Group) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining != nil {
		g.draining.stop()
		g.draining = nil
	}
}

// CloseExisting closes the tunnels that are open now as [Group.Drain] does, and lets those stay that are opened later. It returns at
// once. A further Shed replaces the one before.
func (g *Group) CloseExisting(window time.Duration, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closingExisting != nil {
		g.closingExisting.stop()
	}
	g.closingExisting = newStaggeredClose(window, reason)
	for t := range g.tunnels {
		g.closingExisting.add(t)
	}
}

// Abort closes all tunnels that are open at once, because nobody is at their endpoints any more and no one will say so.
// It does not wait. Clients are told as when an endpoint dies, and have 1 s to answer.
func (g *Group) Abort() {
	g.mu.Lock()
	all := make([]*tunnel, 0, len(g.tunnels))
	for t := range g.tunnels {
		all = append(all, t)
	}
	g.mu.Unlock()
	for _, t := range all {
		t.close("cut", 0)
	}
}

// Wait waits until no tunnel is left and their Ended functions have returned, or until ctx ends, whose error it returns
// then.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	if len(g.tunnels) == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.allClosed == nil {
		g.allClosed = make(chan struct{})
	}
	empty := g.allClosed
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Len returns how many tunnels are not over yet.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.tunnels)
}
