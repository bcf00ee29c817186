package edge

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
)

// MaintenanceCloseReason is why sockets are closed when their service's maintenance begins, as the access log has it.
const MaintenanceCloseReason = "maintenance"

// maintenancePollInterval is how often the storage is asked what other edges, which share it, have been told.
const maintenancePollInterval = 10 * time.Second

// MaintenanceWindow returns the maintenance that a service is in, or nil. After the start of the edge it has the storage asked first.
func (a *App) MaintenanceWindow(service string) *maintenance.Window {
	book := a.runtime.maintenanceState.Snapshot()
	if book == nil {
		book = a.runtime.restoreMaintenance(a)
	}
	return book.Window(service)
}

// restoreMaintenance puts up what was left when the edge was last stopped. Where that can't be read, nothing is closed: the storage is
// asked again soon.
func (l *runtime) restoreMaintenance(a *App) *maintenance.Snapshot {
	l.maintenanceMu.Lock()
	defer l.maintenanceMu.Unlock()
	if book := l.maintenanceState.Snapshot(); book != nil {
		return book
	}
	book, err := loadMaintenance(context.Background(), a.storage)
	if err != nil {
		a.log.Error("whether services are in maintenance is not known: they are taken for open", zap.Error(err))
		l.storageFailureLogged = true
		book = new(maintenance.Snapshot)
	}
	l.applyMaintenance(book, a.log, "the storage")
	return l.maintenanceState.Snapshot()
}

// applyMaintenance has a book hold, and says in the log what that changes. The caller holds maintenanceMu.
func (l *runtime) applyMaintenance(book *maintenance.Snapshot, log *zap.Logger, by string) {
	closed, opened, changed := l.maintenanceState.Replace(book)
	for _, c := range append(closed, changed...) {
		log.Info("maintenance is on", append(windowLogFields(c), zap.String("by", by))...)
	}
	for _, c := range opened {
		log.Info("maintenance is off", zap.String("service", c.Service), zap.Duration("lasted", time.Since(c.Since)), zap.String("by", by))
	}
	for _, c := range closed {
		l.registry.CloseSockets(c.Service, MaintenanceCloseReason)
	}
}

func windowLogFields(c *maintenance.Window) []zap.Field {
	allow := make([]string, len(c.Allow))
	for i, p := range c.Allow {
		allow[i] = p.String()
	}
	return []zap.Field{
		zap.String("service", c.Service), zap.Bool("hold", c.Hold), zap.Strings("allow", allow),
		zap.Duration("retry_after", time.Duration(c.RetryAfter)), zap.String("message", c.Message),
	}
}

// startMaintenanceFollower begins to follow the storage, until stopMaintenanceFollower. The caller holds l.mu.
func (l *runtime) startMaintenanceFollower() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stopFollower, l.followerDone = cancel, make(chan struct{})
	go func() {
		defer close(l.followerDone)
		l.pollMaintenance(ctx)
	}()
}

// stopMaintenanceFollower waits until the storage is followed no more. No configuration uses the living.
func (l *runtime) stopMaintenanceFollower() {
	l.mu.Lock()
	unfollow := l.stopFollower
	l.mu.Unlock()
	if unfollow != nil {
		unfollow()
		<-l.followerDone
	}
}

// pollMaintenance keeps to what the storage says, until ctx ends: another edge may have been told.
func (l *runtime) pollMaintenance(ctx context.Context) {
	ticker := time.NewTicker(maintenancePollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.reloadMaintenance(ctx)
		}
	}
}

// reloadMaintenance puts up what the storage says now. Where that can't be read, what holds goes on, and the log says it once.
func (l *runtime) reloadMaintenance(ctx context.Context) {
	l.mu.Lock()
	a := l.active
	l.mu.Unlock()
	if a == nil {
		return // between two configurations
	}
	l.maintenanceMu.Lock()
	defer l.maintenanceMu.Unlock()
	book, err := loadMaintenance(ctx, a.storage)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.storageFailureLogged = false
		l.applyMaintenance(book, a.log, "the storage")
	case !l.storageFailureLogged:
		l.storageFailureLogged = true
		a.log.Error("what other edges say of maintenance can't be read: what is known holds", zap.Error(err))
	}
}

// updateMaintenance edits the book in the storage and puts it up. If it can't be kept, nothing changes.
func (l *runtime) updateMaintenance(ctx context.Context, a *App, edit func(*maintenance.Snapshot) *maintenance.Snapshot) (*maintenance.Snapshot, error) {
	l.maintenanceMu.Lock()
	defer l.maintenanceMu.Unlock()
	book, err := editMaintenance(ctx, a.storage, edit)
	if err != nil {
		return nil, err
	}
	l.storageFailureLogged = false
	l.applyMaintenance(book, a.log, "the admin API")
	return l.maintenanceState.Snapshot(), nil
}

// setMaintenanceStatus completes a service's status.
func (l *runtime) setMaintenanceStatus(s *registry.ServiceStatus) {
	switch c := l.maintenanceState.Snapshot().Window(s.Service); {
	case c == nil:
	case c.Hold:
		s.Maintenance = "hold"
	default:
		s.Maintenance = "refuse"
	}
}
