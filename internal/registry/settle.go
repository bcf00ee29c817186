package registry

import (
	"context"
	"sync"
	"time"
)

// welcome is how long the beginning lasts at the most. Right after the start, sources speak one after the other, and
// endpoints answer one after the other. Who takes the first that is there may take one that does not know him: so what
// belongs to an endpoint waits a little.
const welcome = 3 * time.Second

// beginning is the time until every source that was expected at first has spoken.
type beginning struct {
	once  sync.Once
	began time.Time
	over  chan struct{} // closed
}

// begin notes that sources are at work. The caller holds r.mu.
func (r *Registry) begin() {
	if r.beginning.Load() != nil {
		return
	}
	b := &beginning{began: time.Now(), over: make(chan struct{})}
	time.AfterFunc(welcome, b.end)
	r.beginning.Store(b)
}

// settle ends the beginning when every source that is expected has spoken. The caller holds r.mu.
func (r *Registry) settle() {
	if b := r.beginning.Load(); b != nil && r.expected == [sourceCount]bool{} {
		b.end()
	}
}

// end is safe for concurrent use, and with a nil beginning.
func (b *beginning) end() {
	if b != nil {
		b.once.Do(func() { close(b.over) })
	}
}

// Settled waits, after the start, until every source that is expected has spoken, for three seconds at the most. Later it
// returns at once. It is for what carries the identity of an endpoint that is not known.
func (r *Registry) Settled(ctx context.Context) {
	b := r.beginning.Load()
	if b == nil {
		return
	}
	select {
	case <-b.over:
	case <-ctx.Done():
	}
}

// young reports whether the sources have been at work for less than the welcome, so that endpoints may be about to answer
// for the first time.
func (r *Registry) young() bool { return r.youth(time.Now()) > 0 }

// youth returns how long the registry will be young.
func (r *Registry) youth(now time.Time) time.Duration {
	if b := r.beginning.Load(); b != nil {
		return b.began.Add(welcome).Sub(now)
	}
	return 0
}
