package maintenance

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/stored"
)

// pollInterval is how often a follower reads the storage, which other edges may have changed.
const pollInterval = 10 * time.Second

// windows is the snapshot in the storage.
var windows = stored.Value[Snapshot]{Key: "edge/maintenance.json", Repair: "`edge maintenance off` writes it anew"}

// Follower keeps the maintenance windows in force equal to those in a storage, which several edges may share. It logs each change.
// Its methods are safe for concurrent use.
type Follower struct {
	storage  func() certmagic.Storage
	log      *zap.Logger
	onClosed func(service string)

	state State

	mu              sync.Mutex // held while the storage is used, so that its last answer is the one in force
	isFailureLogged bool       // the storage can't be read, and the log says so

	runMu  sync.Mutex
	cancel context.CancelFunc // nil until Start
	done   chan struct{}
}

// NewFollower returns a follower that does nothing yet. storage returns the storage to poll, or nil while there is none. onClosed is
// called for each service whose maintenance begins; it must not call the follower.
func NewFollower(storage func() certmagic.Storage, log *zap.Logger, onClosed func(service string)) *Follower {
	return &Follower{storage: storage, log: log, onClosed: onClosed}
}

// Snapshot returns the windows in force; nil before the first Load or Update. It takes no lock.
func (f *Follower) Snapshot() *Snapshot { return f.state.Snapshot() }

// Window returns the window of a service, or nil. If there is no snapshot yet, it reads one from storage, as Load does. Otherwise it
// takes no lock.
func (f *Follower) Window(service string, storage certmagic.Storage) *Window {
	snapshot := f.state.Snapshot()
	if snapshot == nil {
		snapshot = f.Load(storage)
	}
	return snapshot.Window(service)
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
		f.poll(ctx)
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

// Load returns the windows in force. If there is no snapshot yet, it first reads one from storage. If that fails, no service is in
// maintenance until a poll succeeds.
func (f *Follower) Load(storage certmagic.Storage) *Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if current := f.state.Snapshot(); current != nil {
		return current
	}
	snapshot, err := windows.Load(context.Background(), storage)
	if err != nil {
		f.log.Error("the maintenance windows can't be read: all services are open", zap.Error(err))
		f.isFailureLogged = true
		snapshot = new(Snapshot)
	}
	f.apply(snapshot, "the storage")
	return f.state.Snapshot()
}

// Update changes the windows in storage, and then those in force; it returns the latter. edit gets the stored snapshot, or nil if it
// can't be read; it returns nil if it can't do without it. On an error nothing has changed.
func (f *Follower) Update(ctx context.Context, storage certmagic.Storage, edit func(*Snapshot) *Snapshot) (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snapshot, err := windows.Update(ctx, storage, edit)
	if err != nil {
		return nil, err
	}
	f.isFailureLogged = false
	f.apply(snapshot, "the admin API")
	return f.state.Snapshot(), nil
}

func (f *Follower) poll(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.reload(ctx)
		}
	}
}

// reload applies the snapshot in the storage. If it can't be read, the windows in force stay, and the log says so once.
func (f *Follower) reload(ctx context.Context) {
	storage := f.storage()
	if storage == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	snapshot, err := windows.Load(ctx, storage)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		f.isFailureLogged = false
		f.apply(snapshot, "the storage")
	case !f.isFailureLogged:
		f.isFailureLogged = true
		f.log.Error("the maintenance windows can't be read: those in force stay", zap.Error(err))
	}
}

// apply puts a snapshot in force and logs what that changes, with by as the origin. The caller holds f.mu.
func (f *Follower) apply(snapshot *Snapshot, by string) {
	closed, opened, changed := f.state.Replace(snapshot)
	for _, w := range append(closed, changed...) {
		f.log.Info("maintenance is on", append(logFields(w), zap.String("by", by))...)
	}
	for _, w := range opened {
		f.log.Info("maintenance is off", zap.String("service", w.Service), zap.Duration("lasted", time.Since(w.Since)), zap.String("by", by))
	}
	for _, w := range closed {
		f.onClosed(w.Service)
	}
}

func logFields(w *Window) []zap.Field {
	allow := make([]string, len(w.Allow))
	for i, p := range w.Allow {
		allow[i] = p.String()
	}
	return []zap.Field{
		zap.String("service", w.Service), zap.Bool("hold", w.Hold), zap.Strings("allow", allow),
		zap.Duration("retry_after", time.Duration(w.RetryAfter)), zap.String("message", w.Message),
	}
}
