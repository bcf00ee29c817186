// Package drains has all edges that share a storage drain the same endpoints. The storage has the last requests, each edge reads it every two seconds, and
// does what others were asked for. An edge that starts knows only of the last seconds: drains from before come to it from its predecessor, if that hands over
// what it knows.
package drains

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

// PollInterval is how often a follower reads the storage: after this time, all edges drain what one was asked to.
const PollInterval = 2 * time.Second

// startWindow is for how long a request is done by edges that start after it: the predecessor of one may have handed over what it knew just before.
const startWindow = 5 * PollInterval

// findTimeout is how long an edge waits for an endpoint that it does not know, but another edge does.
const findTimeout = time.Minute

// Registry is what a follower needs of a [registry.Registry].
type Registry interface {
	Drain(ids []string, opts registry.DrainOptions) ([]registry.DrainStatus, error)
	DrainedIDs() []string
}

// Follower drains the endpoints that other edges drain, and tells these of its own drains, by a storage that they share. Its methods are safe for
// concurrent use.
type Follower struct {
	storage   func() certmagic.Storage
	registry  Registry
	log       *zap.Logger
	onRequest func(endpoints []registry.DrainStatus, isUndo bool)
	wake      chan struct{} // has one element while there is something to tell

	mu      sync.Mutex // not held while the storage is used
	unsaved []request  // what the storage does not have yet, in order
	waiting []chan<- error

	// Of the goroutine that uses the storage.
	last            *requestLog        // as it was read last; nil before the first time
	pending         map[string]pending // by endpoint: what this edge has still to do
	isFailureLogged bool               // the storage does not answer, and the log says so

	runMu  sync.Mutex
	cancel context.CancelFunc // nil until Start
	done   chan struct{}
}

// pending is a request of another edge. This edge may not have the endpoint, or not yet.
type pending struct {
	request request
	until   time.Time
}

// NewFollower returns a follower that tells nobody yet. storage returns the storage, or nil while there is none. onRequest is called after the follower has done
// what another edge was asked for; it must not call the follower.
func NewFollower(storage func() certmagic.Storage, r Registry, log *zap.Logger, onRequest func(endpoints []registry.DrainStatus, isUndo bool)) *Follower {
	return &Follower{storage: storage, registry: r, log: log, onRequest: onRequest, wake: make(chan struct{}, 1), pending: make(map[string]pending)}
}

// Start begins to poll the storage, until Stop. Calls after the first one do nothing.
func (f *Follower) Start() {
	f.runMu.Lock()
	defer f.runMu.Unlock()
	if f.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		f.run(ctx)
	}()
}

// Stop ends the polling and waits for its end. The follower can't be started again.
func (f *Follower) Stop() {
	f.runMu.Lock()
	defer f.runMu.Unlock()
	if f.cancel != nil {
		f.cancel()
		<-f.done
	}
}

// Drain drains endpoints here, or undoes that, and tells the other edges. If these are not told before ctx ends, notShared says why; they are when the storage
// answers again. After err nothing has changed.
func (f *Follower) Drain(ctx context.Context, names []string, opts registry.DrainOptions) (endpoints []registry.DrainStatus, notShared, err error) {
	saved := make(chan error, 1)
	f.mu.Lock() // the order of requests here is that in the storage
	if endpoints, err = f.registry.Drain(names, opts); err == nil {
		f.enqueue(endpoints, opts)
		f.waiting = append(f.waiting, saved)
	}
	f.mu.Unlock()
	if err != nil || f.storage() == nil {
		return endpoints, nil, err
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	select {
	case notShared = <-saved:
	case <-ctx.Done():
		notShared = errors.New("the storage has not answered yet")
	}
	return endpoints, notShared, nil
}

// enqueue adds a request for each endpoint. The caller holds f.mu.
func (f *Follower) enqueue(endpoints []registry.DrainStatus, opts registry.DrainOptions) {
	now := time.Now().UTC()
	for _, e := range endpoints { // an endpoint can be that of several services: the last one counts
		f.unsaved = append(f.unsaved, request{Endpoint: e.ID, Undo: opts.Undo, RequestedAt: now, SessionsUntil: now.Add(opts.SessionGrace)})
	}
	f.unsaved = lastRequests(f.unsaved)
}

func (f *Follower) run(ctx context.Context) {
	ticker := time.NewTicker(PollInterval)
	defer ticker.Stop()
	for {
		f.follow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-f.wake:
		}
	}
}

// follow stores what other edges do not know yet, and does what they were asked for. While the storage does not answer, the drains in force stay, and the log
// says so once.
func (f *Follower) follow(ctx context.Context) {
	storage := f.storage()
	if storage == nil {
		return
	}
	f.mu.Lock()
	own, waiting := f.unsaved, f.waiting
	f.unsaved, f.waiting = nil, nil
	f.mu.Unlock()
	err := f.exchange(ctx, storage, own)
	for _, saved := range waiting {
		saved <- err
	}
	switch {
	case err == nil:
		f.isFailureLogged = false
	case ctx.Err() == nil && !f.isFailureLogged:
		f.isFailureLogged = true
		f.log.Error("drains can't be shared with other edges: those in force stay", zap.Error(err))
	}
}

// exchange stores this edge's requests, and does those of others. Where the storage can be read and not written, it does the latter.
func (f *Follower) exchange(ctx context.Context, storage certmagic.Storage, own []request) error {
	numbers, updated, err := f.save(ctx, storage, f.inForce(own))
	if err != nil {
		f.mu.Lock()
		for i := range own {
			own[i].isQueued = true
		}
		f.unsaved = lastRequests(append(own, f.unsaved...))
		f.mu.Unlock()
	}
	if updated == nil {
		read, readErr := storedLog.Load(ctx, storage)
		if readErr != nil {
			return cmp.Or(err, readErr)
		}
		updated = read
	}
	f.apply(updated, numbers)
	return err
}

// save stores requests, if there are any, and returns their numbers by endpoint, and the log.
func (f *Follower) save(ctx context.Context, storage certmagic.Storage, own []request) (numbers map[string]int64, updated *requestLog, err error) {
	if len(own) == 0 {
		return nil, nil, nil
	}
	updated, err = storedLog.Update(ctx, storage, func(l *requestLog) *requestLog {
		switch {
		case l == nil && !slices.ContainsFunc(own, func(r request) bool { return r.Undo }): // it can't be read
			return nil
		case l == nil || l.ID == "":
			l = newRequestLog()
		}
		numbers = l.add(own)
		return l
	})
	return numbers, updated, err
}

// inForce leaves out what waited for the storage and is no longer so: the container has exited, or another edge has undone the drain.
func (f *Follower) inForce(own []request) []request {
	drained := make(map[string]bool)
	for _, id := range f.registry.DrainedIDs() {
		drained[id] = true
	}
	var all []request
	for _, r := range own {
		if !r.isQueued || drained[r.Endpoint] == !r.Undo {
			all = append(all, r)
		}
	}
	return all
}

// apply does what other edges were asked for since the last time. numbers are those of this edge's own requests, by endpoint.
func (f *Follower) apply(current *requestLog, numbers map[string]int64) {
	now := time.Now()
	isNew := func(r *request) bool { return now.Sub(r.RequestedAt).Abs() < startWindow } // the first time, or the storage is another one
	switch {
	case f.last != nil && f.last.ID == "": // nobody had requested anything
		isNew = func(*request) bool { return true }
	case f.last != nil && f.last.ID == current.ID:
		isNew = func(r *request) bool { return r.Number > f.last.Last }
	}
	for _, r := range current.lastRequests(isNew) {
		delete(f.pending, r.Endpoint)
		if numbers[r.Endpoint] != r.Number {
			f.pending[r.Endpoint] = pending{r, now.Add(findTimeout)}
		}
	}
	f.last = current
	for id, p := range f.pending {
		if f.request(p.request) || now.After(p.until) {
			delete(f.pending, id)
		}
	}
}

// request does what another edge was asked for, and reports whether that is settled. It is not as long as this edge does not have the endpoint.
func (f *Follower) request(r request) (isSettled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, own := range f.unsaved { // what this edge was asked for since counts
		if own.Endpoint == r.Endpoint && (!own.isQueued || own.RequestedAt.After(r.RequestedAt)) {
			return true
		}
	}
	endpoints, err := f.registry.Drain([]string{r.Endpoint}, registry.DrainOptions{Undo: r.Undo, SessionGrace: max(0, time.Until(r.SessionsUntil))})
	switch {
	case err == nil:
		f.onRequest(endpoints, r.Undo)
	case !errors.Is(err, registry.ErrNoEndpoint):
		f.log.Error("a drain that another edge was asked for failed", zap.String("id", r.Endpoint), zap.Bool("undo", r.Undo), zap.Error(err))
	}
	return !errors.Is(err, registry.ErrNoEndpoint)
}
