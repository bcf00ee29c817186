// Package drains has all edges that share a storage drain the same endpoints.
package drains

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/stored"
)

// PollInterval is how often a follower reads the storage: after this time, all edges drain what one was asked to.
const PollInterval = 2 * time.Second

// keepEnded is for how long the storage remembers that a drain has ended. It is longer than two edges differ about which containers run.
const keepEnded = 10 * time.Minute

// keepUnseen is for how long the storage has a drain whose endpoint no edge has seen to leave, since none ran then.
const keepUnseen = 90 * 24 * time.Hour

// drain is the drain of one endpoint.
type drain struct {
	Endpoint string    `json:"endpoint"` // its ID
	Since    time.Time `json:"since"`
	// SessionsUntil is until when the endpoint gets requests of its sessions.
	SessionsUntil time.Time `json:"sessions_until"`
	// EndedAt is when the endpoint was gone. Edges to which it is not gone yet go on with the drain: its container is about to stop.
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// list is what the storage has.
type list struct {
	Drains []drain `json:"drains"`
}

var storedList = stored.Value[list]{Key: "edge/drains.json", Repair: "`edge drain --undo` of an endpoint writes it anew"}

// find returns the index of an endpoint's drain, or -1.
func (l *list) find(endpoint string) int {
	return slices.IndexFunc(l.Drains, func(d drain) bool { return d.Endpoint == endpoint })
}

// removeOld removes what no edge needs any more.
func (l *list) removeOld(now time.Time) {
	l.Drains = slices.DeleteFunc(l.Drains, func(d drain) bool {
		return !d.EndedAt.IsZero() && now.Sub(d.EndedAt) > keepEnded || now.Sub(d.Since) > keepUnseen
	})
}

// change is what this edge has to tell the others of one endpoint.
type change struct {
	drain
	isUndo bool
}

// apply makes the change.
func (l *list) apply(c change) {
	i := l.find(c.Endpoint)
	switch {
	case c.isUndo && i >= 0:
		l.Drains = slices.Delete(l.Drains, i, i+1)
	case c.isUndo:
	case c.EndedAt.IsZero() && i >= 0:
		l.Drains[i] = c.drain
	case c.EndedAt.IsZero():
		l.Drains = append(l.Drains, c.drain)
	case i >= 0 && l.Drains[i].Since.Equal(c.Since):
		l.Drains[i].EndedAt = c.EndedAt
	}
}

// Registry is what a follower needs of a [registry.Registry].
type Registry interface {
	Drain(ids []string, opts registry.DrainOptions) ([]registry.DrainStatus, error)
	DrainedIDs() []string
}

// Follower drains the endpoints that other edges drain, and tells these of its own drains, by a storage that they share. Its methods are safe for
// concurrent use.
type Follower struct {
	storage  func() certmagic.Storage
	registry Registry
	log      *zap.Logger

	mu              sync.Mutex           // held while the storage is used
	applied         map[string]time.Time // the endpoints that are drained here, and since when
	unshared        map[string]change    // by endpoint: what the storage does not have yet
	isFailureLogged bool                 // the storage does not answer, and the log says so

	runMu  sync.Mutex
	cancel context.CancelFunc // nil until Start
	done   chan struct{}
}

// NewFollower returns a follower that does nothing yet. storage returns the storage, or nil while there is none.
func NewFollower(storage func() certmagic.Storage, registry Registry, log *zap.Logger) *Follower {
	return &Follower{storage: storage, registry: registry, log: log, applied: make(map[string]time.Time), unshared: make(map[string]change)}
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
		ticker := time.NewTicker(PollInterval)
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

// Stop ends the polling and waits for its end. The follower can't be started again.
func (f *Follower) Stop() {
	f.runMu.Lock()
	defer f.runMu.Unlock()
	if f.cancel != nil {
		f.cancel()
		<-f.done
	}
}

// Drain drains endpoints here, or undoes that, and tells the other edges. If these can't be told, notShared says why; they are when the storage answers
// again. After err nothing has changed.
func (f *Follower) Drain(ctx context.Context, names []string, opts registry.DrainOptions) (endpoints []registry.DrainStatus, notShared, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if endpoints, err = f.registry.Drain(names, opts); err != nil {
		return nil, nil, err
	}
	storage := f.storage()
	if storage == nil {
		return endpoints, nil, nil
	}
	now := time.Now()
	for _, e := range endpoints {
		f.unshared[e.ID] = change{drain{Endpoint: e.ID, Since: now.UTC(), SessionsUntil: now.Add(opts.SessionGrace).UTC()}, opts.Undo}
		if opts.Undo {
			delete(f.applied, e.ID)
		} else {
			f.applied[e.ID] = now
		}
	}
	_, notShared = f.exchange(ctx, storage)
	return endpoints, notShared, nil
}

// follow applies what other edges have stored, and stores which drains have ended. While the storage does not answer, the drains in force stay, and the log says
// so once.
func (f *Follower) follow(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	storage := f.storage()
	if storage == nil {
		return
	}
	drained := f.registry.DrainedIDs()
	for id, since := range f.applied {
		if !slices.Contains(drained, id) { // its container has exited
			delete(f.applied, id)
			f.unshared[id] = change{drain: drain{Endpoint: id, Since: since, EndedAt: time.Now().UTC()}}
		}
	}
	stored, err := f.exchange(ctx, storage)
	if err != nil {
		if ctx.Err() == nil && !f.isFailureLogged {
			f.isFailureLogged = true
			f.log.Error("drains can't be shared with other edges: those in force stay", zap.Error(err))
		}
		return
	}
	f.isFailureLogged = false
	for _, d := range stored.Drains {
		if d.EndedAt.IsZero() && !f.applied[d.Endpoint].Equal(d.Since) {
			f.apply(d, slices.Contains(drained, d.Endpoint))
		}
	}
	for id, since := range f.applied {
		if stored.find(id) < 0 && time.Since(since) < keepUnseen {
			delete(f.applied, id)
			f.request(id, registry.DrainOptions{Undo: true})
		}
	}
}

// exchange stores what is not shared yet, and returns what is stored then.
func (f *Follower) exchange(ctx context.Context, storage certmagic.Storage) (*list, error) {
	if len(f.unshared) == 0 {
		return storedList.Load(ctx, storage)
	}
	stored, err := storedList.Update(ctx, storage, func(l *list) *list {
		if l == nil {
			if !f.isUndoRequested() {
				return nil
			}
			l = new(list)
		}
		l.removeOld(time.Now())
		for _, c := range f.unshared {
			l.apply(c)
		}
		return l
	})
	if err == nil {
		clear(f.unshared)
	}
	return stored, err
}

// isUndoRequested reports whether an operator has undone a drain, and the others are not told yet.
func (f *Follower) isUndoRequested() bool {
	for _, c := range f.unshared {
		if c.isUndo {
			return true
		}
	}
	return false
}

// apply drains an endpoint that another edge drains, if this edge has it.
func (f *Follower) apply(d drain, isDrained bool) {
	if isDrained || f.request(d.Endpoint, registry.DrainOptions{SessionGrace: max(0, time.Until(d.SessionsUntil))}) {
		f.applied[d.Endpoint] = d.Since
	}
}

// request does what another edge was asked to, and reports whether it has. An endpoint may not be here, or not yet.
func (f *Follower) request(id string, opts registry.DrainOptions) bool {
	_, err := f.registry.Drain([]string{id}, opts)
	switch {
	case err == nil:
		f.log.Info("a drain was requested", zap.String("id", id), zap.Bool("undo", opts.Undo), zap.String("by", "another edge"))
	case !errors.Is(err, registry.ErrNoEndpoint):
		f.log.Error("a drain that another edge was asked for failed", zap.String("id", id), zap.Bool("undo", opts.Undo), zap.Error(err))
	}
	return err == nil
}
