package registry

import (
	"context"
	"time"
)

// Right after the start, sources speak one after the other, and endpoints answer one after the other. Who takes the first
// that is there may take one that does not know him: so what belongs to an endpoint waits a little.
const welcome = 3 * time.Second

// begin notes that sources are at work. The caller holds r.mu.
func (r *Registry) begin() {
	if r.settling != nil {
		return
	}
	r.settling = make(chan struct{})
	r.impatience = time.AfterFunc(welcome, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closeSettling()
	})
}

// settle ends the beginning when every source that is expected has spoken. The caller holds r.mu.
func (r *Registry) settle() {
	if r.settling != nil && r.expected == [sourceCount]bool{} {
		r.closeSettling()
	}
}

func (r *Registry) closeSettling() {
	r.impatience.Stop()
	select {
	case <-r.settling:
	default:
		close(r.settling)
	}
}

// Settled waits, after the start, until every source that is expected has spoken, for three seconds at the most. Later it
// returns at once. It is for what carries the identity of an endpoint that is not known.
func (r *Registry) Settled(ctx context.Context) {
	r.mu.Lock()
	settling := r.settling
	r.mu.Unlock()
	if settling == nil {
		return
	}
	select {
	case <-settling:
	case <-ctx.Done():
	}
}
