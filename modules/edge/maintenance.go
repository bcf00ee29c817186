package edge

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
)

// MaintenanceReason is why sockets are closed when their service's maintenance begins, as the access log has it.
const MaintenanceReason = "maintenance"

// maintenancePoll is how often the storage is asked what other edges, which share it, have been told.
const maintenancePoll = 10 * time.Second

// Closure returns the maintenance that a service is in, or nil. After the start of the edge it has the storage asked first.
func (a *App) Closure(service string) *maintenance.Window {
	book := a.living.closures.Snapshot()
	if book == nil {
		book = a.living.recall(a)
	}
	return book.Window(service)
}

// recall puts up what was left when the edge was last stopped. Where that can't be read, nothing is closed: the storage is
// asked again soon.
func (l *living) recall(a *App) *maintenance.Snapshot {
	l.closuresMu.Lock()
	defer l.closuresMu.Unlock()
	if book := l.closures.Snapshot(); book != nil {
		return book
	}
	book, err := loadBook(context.Background(), a.storage)
	if err != nil {
		a.log.Error("whether services are in maintenance is not known: they are taken for open", zap.Error(err))
		l.forgetful = true
		book = new(maintenance.Snapshot)
	}
	l.putUp(book, a.log, "the storage")
	return l.closures.Snapshot()
}

// putUp has a book hold, and says in the log what that changes. The caller holds closuresMu.
func (l *living) putUp(book *maintenance.Snapshot, log *zap.Logger, by string) {
	closed, opened, changed := l.closures.Replace(book)
	for _, c := range append(closed, changed...) {
		log.Info("maintenance is on", append(closureFields(c), zap.String("by", by))...)
	}
	for _, c := range opened {
		log.Info("maintenance is off", zap.String("service", c.Service), zap.Duration("lasted", time.Since(c.Since)), zap.String("by", by))
	}
	for _, c := range closed {
		l.registry.CloseSockets(c.Service, MaintenanceReason)
	}
}

func closureFields(c *maintenance.Window) []zap.Field {
	allow := make([]string, len(c.Allow))
	for i, p := range c.Allow {
		allow[i] = p.String()
	}
	return []zap.Field{
		zap.String("service", c.Service), zap.Bool("hold", c.Hold), zap.Strings("allow", allow),
		zap.Duration("retry_after", time.Duration(c.RetryAfter)), zap.String("message", c.Message),
	}
}

// follow begins to follow the storage, until endFollowing. The caller holds l.mu.
func (l *living) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	l.unfollow, l.followed = cancel, make(chan struct{})
	go func() {
		defer close(l.followed)
		l.followStorage(ctx)
	}()
}

// endFollowing waits until the storage is followed no more. No configuration uses the living.
func (l *living) endFollowing() {
	l.mu.Lock()
	unfollow := l.unfollow
	l.mu.Unlock()
	if unfollow != nil {
		unfollow()
		<-l.followed
	}
}

// followStorage keeps to what the storage says, until ctx ends: another edge may have been told.
func (l *living) followStorage(ctx context.Context) {
	ticker := time.NewTicker(maintenancePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.reread(ctx)
		}
	}
}

// reread puts up what the storage says now. Where that can't be read, what holds goes on, and the log says it once.
func (l *living) reread(ctx context.Context) {
	l.mu.Lock()
	a := l.inForce
	l.mu.Unlock()
	if a == nil {
		return // between two configurations
	}
	l.closuresMu.Lock()
	defer l.closuresMu.Unlock()
	book, err := loadBook(ctx, a.storage)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.forgetful = false
		l.putUp(book, a.log, "the storage")
	case !l.forgetful:
		l.forgetful = true
		a.log.Error("what other edges say of maintenance can't be read: what is known holds", zap.Error(err))
	}
}

// change edits the book in the storage and puts it up. If it can't be kept, nothing changes.
func (l *living) change(ctx context.Context, a *App, edit func(*maintenance.Snapshot) *maintenance.Snapshot) (*maintenance.Snapshot, error) {
	l.closuresMu.Lock()
	defer l.closuresMu.Unlock()
	book, err := editBook(ctx, a.storage, edit)
	if err != nil {
		return nil, err
	}
	l.forgetful = false
	l.putUp(book, a.log, "the admin API")
	return l.closures.Snapshot(), nil
}

// showMaintenance completes a service's status.
func (l *living) showMaintenance(s *registry.ServiceStatus) {
	switch c := l.closures.Snapshot().Window(s.Service); {
	case c == nil:
	case c.Hold:
		s.Maintenance = "hold"
	default:
		s.Maintenance = "refuse"
	}
}
