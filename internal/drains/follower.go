// Package drains has all edges that share a storage drain the same endpoints. The storage has the last events, each edge reads them every second, and does what
// others were asked for. It does so only with events that were stored since it has read the storage last, a moment ago: a container that an older one names may
// have exited and started again. So an edge that starts, or could not read the storage for a while, has to be asked again.
package drains

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

const (
	pollInterval = time.Second

	// SharedWithin is after which time all edges drain what one was asked to.
	SharedWithin = 2 * time.Second

	// maxGap is how long a follower may not have read the storage, and still does what was stored meanwhile.
	maxGap = time.Minute

	// createInterval is how often a follower tries to create the log of events.
	createInterval = time.Minute
)

// Registry is what a follower needs of a [registry.Registry].
type Registry interface {
	Drain(ids []string, opts registry.DrainOptions) ([]registry.DrainStatus, error)
}

// Follower drains the endpoints that other edges drain, and tells these of its own drains, by a storage that they share. Its methods are safe for
// concurrent use.
type Follower struct {
	storage  func() certmagic.Storage
	registry Registry
	log      *zap.Logger
	onEvent  func(endpoints []registry.DrainStatus, isUndo bool)
	name     string        // of this process
	storing  chan struct{} // has one element while an event is stored: they are stored one by one

	// Of the goroutine that reads the storage.
	logID           string    // the log that was read last
	last            int64     // its last event that was read
	readAt          time.Time // when that began
	createAt        time.Time // when the log may be created
	isFailureLogged bool      // the storage can't be read, and the log says so

	mu     sync.Mutex
	cancel context.CancelFunc // nil until Start
	done   chan struct{}
}

// NewFollower returns a follower that does not read the storage yet. storage returns the storage, or nil while there is none. onEvent is called after the follower
// has done what another edge was asked for.
func NewFollower(storage func() certmagic.Storage, r Registry, log *zap.Logger, onEvent func(endpoints []registry.DrainStatus, isUndo bool)) *Follower {
	return &Follower{storage: storage, registry: r, log: log, onEvent: onEvent, name: rand.Text(), storing: make(chan struct{}, 1)}
}

// Start begins to read the storage, until Stop. Calls after the first one do nothing.
func (f *Follower) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		for {
			f.follow(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
}

// Stop ends the reading and waits for its end. The follower can't be started again.
func (f *Follower) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		f.cancel()
		<-f.done
	}
}

// Share tells other edges that endpoints are drained here, or no longer so. It returns an error if they are not told, and does not try again: what it would
// tell them could be over by then. An endpoint that only DNS knows is left out: its ID is an address, which can be another container's on another host.
func (f *Follower) Share(ctx context.Context, endpoints []registry.DrainStatus, opts registry.DrainOptions) error {
	storage := f.storage()
	e := event{Edge: f.name, Undo: opts.Undo, SessionSeconds: opts.SessionGrace.Seconds()}
	for i := range endpoints {
		if id := endpoints[i].ID; endpoints[i].Source != registry.DNS.String() && !slices.Contains(e.Endpoints, id) {
			e.Endpoints = append(e.Endpoints, id)
		}
	}
	if storage == nil || len(e.Endpoints) == 0 {
		return nil
	}
	select {
	case f.storing <- struct{}{}:
		defer func() { <-f.storing }()
	case <-ctx.Done():
		return errors.New("the storage has not answered an earlier request yet")
	}
	_, err := storedLog.Update(ctx, storage, func(l *eventLog) *eventLog {
		if l == nil || l.ID == "" { // it is broken, or there is none
			l = newEventLog()
		}
		l.add(e)
		return l
	})
	return err
}

// follow does what was stored since the last time. While the storage can't be read, the drains in force stay, and the log says so once.
func (f *Follower) follow(ctx context.Context) {
	storage := f.storage()
	if storage == nil {
		return
	}
	start := time.Now()
	current, err := storedLog.Load(ctx, storage)
	if err == nil && current.ID == "" && !start.Before(f.createAt) {
		f.createAt = start.Add(createInterval)
		current, err = storedLog.Update(ctx, storage, func(l *eventLog) *eventLog {
			if l == nil || l.ID != "" {
				return l
			}
			return newEventLog()
		})
	}
	switch {
	case err == nil:
		f.isFailureLogged = false
	case ctx.Err() != nil:
		return
	default:
		if !f.isFailureLogged {
			f.isFailureLogged = true
			f.log.Error("drains can't be shared with other edges: those in force stay", zap.Error(err))
		}
		return
	}
	missed := start.Sub(f.readAt) > maxGap
	switch {
	case current.ID != f.logID || current.Last <= f.last: // the first time, another log, or nothing new
	case missed:
		f.log.Warn("the storage could not be read for more than a minute: what other edges were asked to drain meanwhile is not drained here")
	default:
		for _, e := range current.after(f.last) {
			f.apply(e)
		}
	}
	f.logID, f.last, f.readAt = current.ID, current.Last, start
}

// apply does what an edge was asked for. That edge has done so at once, and does it again here, so that all edges have the same order.
func (f *Follower) apply(e event) {
	opts := registry.DrainOptions{Undo: e.Undo, SessionGrace: time.Duration(e.SessionSeconds * float64(time.Second)), FoundBefore: f.readAt}
	for _, id := range e.Endpoints {
		endpoints, err := f.registry.Drain([]string{id}, opts)
		switch {
		case errors.Is(err, registry.ErrNoEndpoint): // this edge does not have it, or it is a new run of the container
			f.log.Debug("another edge drains an endpoint that is not here", zap.String("id", id), zap.Bool("undo", e.Undo), zap.Error(err))
		case err != nil:
			f.log.Error("a drain that another edge was asked for failed", zap.String("id", id), zap.Bool("undo", e.Undo), zap.Error(err))
		case e.Edge != f.name:
			f.onEvent(endpoints, e.Undo)
		}
	}
}
