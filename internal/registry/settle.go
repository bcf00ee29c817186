package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// startupGrace is how long endpoints have to answer for the first time once the sources have spoken, and how long a source that can't
// be reached is waited for. Right after the start, sources speak one after the other, and
// endpoints answer one after the other. Who takes the first that is there may take one that does not know him: so what
// belongs to an endpoint waits a little.
const startupGrace = 3 * time.Second

// slowestSource is how long a source is waited for that neither speaks nor fails, on a machine that is very busy.
const slowestSource = 15 * time.Second

// beginning is the time until every source that was expected at first has spoken.
type beginning struct {
	once    sync.Once
	began   time.Time
	over    chan struct{} // closed
	settled atomic.Int64  // when, in Unix nanoseconds; 0: not yet
}

// begin notes that sources are at work. The caller holds r.mu.
func (r *Registry) begin() {
	if r.beginning.Load() != nil {
		return
	}
	b := &beginning{began: time.Now(), over: make(chan struct{})}
	r.beginning.Store(b)
	time.AfterFunc(startupGrace, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settle()
	})
	time.AfterFunc(slowestSource, b.end)
}

// settle ends the beginning when every source that is expected has spoken, or, after the startupGrace, has failed to. The caller holds
// r.mu.
func (r *Registry) settle() {
	b := r.beginning.Load()
	if b == nil {
		return
	}
	late := time.Since(b.began) >= startupGrace
	for source, expected := range r.expected {
		if expected && !(late && r.failed[source]) {
			return
		}
	}
	b.end()
}

// end is safe for concurrent use, and with a nil beginning.
func (b *beginning) end() {
	if b != nil {
		b.once.Do(func() {
			b.settled.Store(time.Now().UnixNano())
			close(b.over)
		})
	}
}

// Settled waits, after the start, until every source that is expected has spoken. One that can't be reached is waited for for three
// seconds, one that does not say so for 15. Later it returns at once. It is for what carries the identity of an endpoint that is not known.
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

// young reports whether the sources have spoken less than the startupGrace ago, so that endpoints may be about to answer for the
// first time.
func (r *Registry) young() bool { return r.youth(time.Now()) > 0 }

// youth returns how long the registry will be young.
func (r *Registry) youth(now time.Time) time.Duration {
	b := r.beginning.Load()
	if b == nil {
		return 0
	}
	if at := b.settled.Load(); at != 0 {
		return time.Unix(0, at).Add(startupGrace).Sub(now)
	}
	return startupGrace
}
