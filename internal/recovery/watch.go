package recovery

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// watchInterval is the time between two looks at the status.
const watchInterval = time.Minute

// Watch tells of each problem when it begins. It looks by itself, too: if the timers of the host are dead, nothing reports any more.
type Watch struct {
	store   *Store
	storage func() certmagic.Storage
	begin   func(Problem)
	cancel  context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	known []Problem
}

// NewWatch returns a Watch of a store. storage returns where the status is, or nil if there is no storage at that time. begin is called with each new
// problem, by one goroutine at a time. The caller must call Stop.
func NewWatch(store *Store, storage func() certmagic.Storage, begin func(Problem)) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{store: store, storage: storage, begin: begin, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.Look(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}

// Stop stops the Watch, and waits until it has.
func (w *Watch) Stop() {
	w.cancel()
	<-w.done
}

// Look tells of problems that have begun since the last look. A storage that cannot be read changes nothing.
func (w *Watch) Look(ctx context.Context) {
	storage := w.storage()
	if storage == nil {
		return
	}
	status, err := w.store.Status(ctx, storage)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	problems := status.Problems(time.Now())
	for _, p := range problems {
		if !slices.Contains(w.known, p) {
			w.begin(p)
		}
	}
	w.known = problems
}
