// Package drains has all edges that share a storage drain the same endpoints. The storage has the last events, each edge reads them every second, and does what
// others were asked for. It drains only for events that were stored since it has read the storage last, a moment ago: a container that an older one names may
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
	DrainedIDs() []string
}

// Follower drains the endpoints that other edges drain, and tells these of its own drains, by a storage that they share. Its methods are safe for
// concurrent use.
type Follower struct {
	storage  func() certmagic.Storage
	registry Registry
	log      *zap.Logger
	onEvent  func(endpoints []registry.DrainStatus, isUndo bool)
	name     string // of this process

	// One element while the log of events is read and done, or an event is stored: what was read is not done after what this edge was asked for since.
	busy chan struct{}

	// Guarded by busy.
	logID           string    // the log that was read last
	last            int64     // its last event that was read
	readAt          time.Time // when that began
	createAt        time.Time // when the log may be created
	isFailureLogged bool      // the storage can't be used, and the log says so

	unshared sync.Map // endpoints whose last request to this edge is not stored yet, or could not be: what the log has at its next read does not count

	mu     sync.Mutex
	cancel context.CancelFunc // nil until Start
	done   chan struct{}
}

// NewFollower returns a follower that does not read the storage yet. storage returns the storage, or nil while there is none. onEvent is called after the follower
// has done what another edge was asked for.
func NewFollower(storage func() certmagic.Storage, r Registry, log *zap.Logger, onEvent func(endpoints []registry.DrainStatus, isUndo bool)) *Follower {
	return &Follower{
		storage: storage, registry: r, log: log, onEvent: onEvent, name: rand.Text(), busy: make(chan struct{}, 1),
	}
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

// Share notifies other edges that endpoints are drained here, or no longer so, and reports whether there was something to share. It returns an error if they were not
// notified, and does not try again: the drain could be over by then. An endpoint that only DNS knows is left out: its ID is an address, which can be
// another container's on another host.
func (f *Follower) Share(ctx context.Context, endpoints []registry.DrainStatus, opts registry.DrainOptions) (isShared bool, err error) {
	storage := f.storage()
	e := event{Edge: f.name, Undo: opts.Undo, SessionSeconds: opts.SessionGrace.Seconds()}
	for i := range endpoints {
		if id := endpoints[i].ID; endpoints[i].Source != registry.DNS.String() && !slices.Contains(e.Endpoints, id) {
			e.Endpoints = append(e.Endpoints, id)
		}
	}
	if storage == nil || len(e.Endpoints) == 0 {
		return false, nil
	}
	ids := slices.Clone(e.Endpoints)
	for _, id := range ids {
		f.unshared.Store(id, nil)
	}
	if !f.enter(ctx) {
		return false, errors.New("the storage has not answered yet")
	}
	defer f.leave()
	isNew := false
	log, err := storedLog.Update(ctx, storage, func(l *eventLog) *eventLog {
		if isNew = l == nil || l.ID == ""; isNew { // it is broken, or there is none
			return newEventLog()
		}
		// A container may have exited meanwhile, and its next run is not drained.
		drained := f.registry.DrainedIDs()
		e.Endpoints = slices.DeleteFunc(e.Endpoints, func(id string) bool { return slices.Contains(drained, id) == e.Undo })
		if len(e.Endpoints) > 0 {
			l.add(e)
		}
		return l
	})
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		f.unshared.Delete(id)
	}
	if isNew {
		f.logID, f.last = log.ID, log.Last
		return false, errNewLog
	}
	return true, nil
}

// errNewLog says that other edges do not know the log yet, and do nothing of what it has until they have read it once.
var errNewLog = errors.New("edge/drains.json was missing or broken, and is made anew: ask again after two seconds")

// enter waits until the follower is not busy, and reports whether that was before the end of ctx.
func (f *Follower) enter(ctx context.Context) bool {
	select {
	case f.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Follower) leave() { <-f.busy }

// follow does what was stored since the last time. While the storage can't be used, the drains in force stay, and the log says so once.
func (f *Follower) follow(ctx context.Context) {
	storage := f.storage()
	if storage == nil || !f.enter(ctx) {
		return
	}
	defer f.leave()
	start := time.Now()
	current, err := storedLog.Load(ctx, storage)
	if err == nil && current.ID == "" {
		if start.Before(f.createAt) {
			return
		}
		f.createAt = start.Add(createInterval)
		current, err = storedLog.Update(ctx, storage, func(l *eventLog) *eventLog {
			if l == nil || l.ID != "" {
				return l
			}
			return newEventLog()
		})
	}
	if err != nil {
		if ctx.Err() == nil && !f.isFailureLogged {
			f.isFailureLogged = true
			f.log.Error("drains can't be shared with other edges: those in force stay", zap.Error(err))
		}
		return
	}
	f.isFailureLogged = false
	f.doAll(current, start)
	f.logID, f.last, f.readAt = current.ID, current.Last, start
	f.unshared.Clear()
}

// doAll does what was stored in the log since it was read last. After a gap, it only undoes drains: a container that other edges were asked to drain may have
// started again since.
func (f *Follower) doAll(current *eventLog, start time.Time) {
	if current.ID != f.logID || current.Last <= f.last {
		return
	}
	events := current.after(f.last)
	if len(events) == 0 { // somebody has changed the file
		return
	}
	hasGap := start.Sub(f.readAt) > maxGap || events[0].Number > f.last+1
	if hasGap {
		f.log.Warn("the storage could not be read in time: what other edges were asked to drain meanwhile is not drained here")
	}
	for _, e := range events {
		if e.Undo || !hasGap {
			f.do(e)
		}
	}
}

// do does what an edge was asked for. That edge has done so at once, and does it again here, so that all edges have the same order.
func (f *Follower) do(e event) {
	opts := registry.DrainOptions{Undo: e.Undo, SessionGrace: time.Duration(e.SessionSeconds * float64(time.Second))}
	if !e.Undo {
		opts.FoundBefore = f.readAt
	}
	isOwn := e.Edge == f.name
	for _, id := range e.Endpoints {
		_, isUnshared := f.unshared.Load(id)
		if isUnshared || isOwn && slices.Contains(f.registry.DrainedIDs(), id) == !e.Undo {
			continue
		}
		endpoints, err := f.registry.Drain([]string{id}, opts)
		switch {
		case errors.Is(err, registry.ErrNoEndpoint): // this edge does not have it, or it is a new run of the container
			f.log.Debug("another edge drains an endpoint that is not here", zap.String("id", id), zap.Bool("undo", e.Undo), zap.Error(err))
		case err != nil:
			f.log.Error("a drain that another edge was asked for failed", zap.String("id", id), zap.Bool("undo", e.Undo), zap.Error(err))
		case !isOwn:
			f.onEvent(endpoints, e.Undo)
		}
	}
}
