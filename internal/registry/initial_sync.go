package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// startupGrace is how long endpoints may take to answer for the first time after the sources have reported, and how long the
// edge waits for a source that cannot connect. After the start of the edge, sources report one after the other, and endpoints
// answer one after the other. A request that takes the first ready endpoint may get one that does not know its session, so
// requests that belong to an endpoint wait a little.
const startupGrace = 3 * time.Second

// initialSyncTimeout is how long the edge waits for a source that neither reports nor fails, on a very busy machine.
const initialSyncTimeout = 15 * time.Second

// initialSync is the time until every source that is expected at the start has reported.
type initialSync struct {
	once        sync.Once
	startedAt   time.Time
	done        chan struct{} // closed by complete
	completedAt atomic.Int64  // Unix nanoseconds; 0: not yet
}

// startInitialSync starts the initial sync when the first source is expected. The caller holds r.mu.
func (r *Registry) startInitialSync() {
	if r.initialSync.Load() != nil {
		return
	}
	i := &initialSync{startedAt: time.Now(), done: make(chan struct{})}
	r.initialSync.Store(i)
	time.AfterFunc(startupGrace, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, s := range r.services {
			r.reconcile(s) // isConnecting ends
		}
		r.checkInitialSync()
	})
	time.AfterFunc(initialSyncTimeout, i.complete)
}

// checkInitialSync completes the initial sync when every expected source has reported or, after startupGrace, has failed. The
// caller holds r.mu.
func (r *Registry) checkInitialSync() {
	i := r.initialSync.Load()
	if i == nil {
		return
	}
	isLate := time.Since(i.startedAt) >= startupGrace
	for source, expected := range r.expected {
		if expected && !(isLate && r.failed[source]) {
			return
		}
	}
	i.complete()
}

// isConnecting reports whether a source may still connect at the start of the edge, so that the others do not yet decide without it.
// The caller holds r.mu.
func (r *Registry) isConnecting(source Source) bool {
	i := r.initialSync.Load()
	return i != nil && r.expected[source] && time.Since(i.startedAt) < startupGrace
}

// complete is safe for concurrent use, and does nothing with a nil receiver.
func (i *initialSync) complete() {
	if i != nil {
		i.once.Do(func() {
			i.completedAt.Store(time.Now().UnixNano())
			close(i.done)
		})
	}
}

// WaitForSync waits, after the start of the edge, until every expected source has reported. It waits for three seconds for a
// source that cannot connect, for 15 seconds for one that does not report at all, and no longer than ctx. Later it returns at
// once. It is for requests that carry the identity of an endpoint that the registry does not know.
func (r *Registry) WaitForSync(ctx context.Context) {
	i := r.initialSync.Load()
	if i == nil {
		return
	}
	select {
	case <-i.done:
	case <-ctx.Done():
	}
}

// isInStartupGrace reports whether less than startupGrace has passed since the sources reported, so that endpoints may be about
// to answer for the first time.
func (r *Registry) isInStartupGrace() bool { return r.remainingStartupGrace(time.Now()) > 0 }

// remainingStartupGrace returns how much of the startup grace is left.
func (r *Registry) remainingStartupGrace(now time.Time) time.Duration {
	i := r.initialSync.Load()
	if i == nil {
		return 0
	}
	if at := i.completedAt.Load(); at != 0 {
		return time.Unix(0, at).Add(startupGrace).Sub(now)
	}
	return startupGrace
}
