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

// initialSyncTimeout is how long a source is waited for that neither speaks nor fails, on a machine that is very busy.
const initialSyncTimeout = 15 * time.Second

// initialSync is the time until every source that was expected at first has spoken.
type initialSync struct {
	once        sync.Once
	startedAt   time.Time
	done        chan struct{} // closed
	completedAt atomic.Int64  // when, in Unix nanoseconds; 0: not yet
}

// startInitialSync notes that sources are at work. The caller holds r.mu.
func (r *Registry) startInitialSync() {
	if r.initialSync.Load() != nil {
		return
	}
	b := &initialSync{startedAt: time.Now(), done: make(chan struct{})}
	r.initialSync.Store(b)
	time.AfterFunc(startupGrace, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checkInitialSync()
	})
	time.AfterFunc(initialSyncTimeout, b.complete)
}

// checkInitialSync ends the beginning when every source that is expected has spoken, or, after the startupGrace, has failed to. The caller holds
// r.mu.
func (r *Registry) checkInitialSync() {
	b := r.initialSync.Load()
	if b == nil {
		return
	}
	late := time.Since(b.startedAt) >= startupGrace
	for source, expected := range r.expected {
		if expected && !(late && r.failed[source]) {
			return
		}
	}
	b.complete()
}

// complete is safe for concurrent use, and with a nil beginning.
func (b *initialSync) complete() {
	if b != nil {
		b.once.Do(func() {
			b.completedAt.Store(time.Now().UnixNano())
			close(b.done)
		})
	}
}

// WaitForSync waits, after the start, until every source that is expected has spoken. One that can't be reached is waited for for three
// seconds, one that does not say so for 15. Later it returns at once. It is for what carries the identity of an endpoint that is not known.
func (r *Registry) WaitForSync(ctx context.Context) {
	b := r.initialSync.Load()
	if b == nil {
		return
	}
	select {
	case <-b.done:
	case <-ctx.Done():
	}
}

// isInStartupGrace reports whether the sources have spoken less than the startupGrace ago, so that endpoints may be about to answer for the
// first time.
func (r *Registry) isInStartupGrace() bool { return r.remainingStartupGrace(time.Now()) > 0 }

// remainingStartupGrace returns how long the registry will be young.
func (r *Registry) remainingStartupGrace(now time.Time) time.Duration {
	b := r.initialSync.Load()
	if b == nil {
		return 0
	}
	if at := b.completedAt.Load(); at != 0 {
		return time.Unix(0, at).Add(startupGrace).Sub(now)
	}
	return startupGrace
}
