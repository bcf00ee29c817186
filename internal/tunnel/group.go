package tunnel

import (
	"context"
	"sync"
	"time"
)

// Group is a set of tunnels that are closed together, such as those of an endpoint, whose parent is the group of the
// process. It is safe for concurrent use.
type Group struct {
	parent       *Group
	frameTimeout time.Duration // frameTimeout, unless a test sets another one

	mu              sync.Mutex
	tunnels         map[*tunnel]struct{}
	allClosed       chan struct{}   // closed when the last tunnel has closed; nil if nobody waits
	draining        *staggeredClose // closes all tunnels, also later ones; nil if the group does not drain
	closingExisting *staggeredClose // closes the tunnels that were open when it began; nil if there was none
}

// NewGroup returns a group whose tunnels belong to the parent too. The parent may be nil. A group that is no longer used
// need not be closed.
func NewGroup(parent *Group) *Group {
	return &Group{parent: parent, frameTimeout: frameTimeout, tunnels: make(map[*tunnel]struct{})}
}

// Open opens a tunnel and returns at once. If the group or a parent drains, it closes the tunnel within the window like the
// others, or at once if the window is over.
func (g *Group) Open(config Config) {
	t := newTunnel(g, config)
	config.Traffic.opened()
	for group := g; group != nil; group = group.parent {
		group.add(t)
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

// remove removes a tunnel that has closed from the group and its parents.
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

// Drain starts to close the tunnels, spread evenly over the window, each at a random time within its share, and returns at
// once. To close one tunnel takes at most 3 s: it finishes an unfinished frame, sends both peers a close frame with code
// 1001, or half-closes the connections if the protocol is not WebSocket, and waits for the answers. Drain also closes
// tunnels that are opened later, until [Group.Resume]. A further Drain replaces the one before.
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

// Resume ends a drain. Tunnels that it has not closed yet stay open, and so do new ones.
func (g *Group) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining != nil {
		g.draining.stop()
		g.draining = nil
	}
}

// CloseExisting closes the tunnels that are open now as [Group.Drain] does. Tunnels that are opened later stay open. It
// returns at once. A further CloseExisting replaces the one before.
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

// Abort closes all open tunnels at once, for endpoints that no longer exist and will never close their connections. It does
// not wait. Clients get a close frame, as when an endpoint fails, and have 1 s to answer it.
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

// Wait waits until all tunnels have closed and their OnClose functions have returned. If ctx ends first, it returns the
// error of ctx.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	if len(g.tunnels) == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.allClosed == nil {
		g.allClosed = make(chan struct{})
	}
	allClosed := g.allClosed
	g.mu.Unlock()
	select {
	case <-allClosed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Len returns how many tunnels have not closed yet.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.tunnels)
}
