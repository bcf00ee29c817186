// Package certificates follows what Caddy does about certificates: which sites have one, what failed, and when it tries again.
package certificates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/certs"
)

// storageTimeout bounds each use of the storage, which may be remote.
const storageTimeout = 10 * time.Second

// statePath is where Caddy's storage has the failed attempts for a name. Because they are there, neither a restart nor another edge
// with the same storage asks an authority again too early.
func statePath(name string) string {
	return "edge/certificates/" + certmagic.StorageKeys.Safe(name) + ".json"
}

// Monitor records the events of certmagic, logs failures, and keeps certmagic from asking an authority too often. It outlives
// configurations, and is safe for concurrent use.
type Monitor struct {
	tracker       certs.Tracker
	storageMu     sync.Mutex   // held while the state of a name is written
	provisionedAt atomic.Int64 // of the active configuration, in Unix nanoseconds

	served func(name string) (certmagic.Certificate, bool)
}

// NewMonitor returns a monitor that has recorded nothing.
func NewMonitor() *Monitor { return &Monitor{served: servedCertificate} }

// Activate notes that a configuration is active that was provisioned at a time. Names that were not heard of since then may belong to
// earlier configurations.
func (m *Monitor) Activate(provisionedAt time.Time) { m.provisionedAt.Store(provisionedAt.UnixNano()) }

func (m *Monitor) activeSince() time.Time { return time.Unix(0, m.provisionedAt.Load()) }

// Subscribe makes the monitor record the events of a configuration. It keeps failed attempts in storage, and writes to log.
func (m *Monitor) Subscribe(events *caddyevents.App, storage certmagic.Storage, log *zap.Logger) error {
	handler := eventHandler{m, storage, log}
	var err error
	for _, name := range []string{"cert_obtaining", "cert_obtained", "cert_failed", "cached_managed_cert", "cached_unmanaged_cert"} {
		err = errors.Join(err, events.On(name, handler))
	}
	return err
}

// eventHandler passes the events of one configuration to the monitor.
type eventHandler struct {
	*Monitor
	storage certmagic.Storage
	log     *zap.Logger
}

// Handle implements caddyevents.Handler. An error for cert_obtaining keeps certmagic from asking the authority.
func (h eventHandler) Handle(ctx context.Context, e caddy.Event) error {
	name, _ := e.Data["identifier"].(string)
	switch e.Name() {
	case "cert_obtaining":
		h.restoreState(ctx, name)
		renewal, _ := e.Data["renewal"].(bool)
		if err := h.tracker.BeginAttempt(name, renewal); err != nil {
			h.log.Warn("a certificate is not asked for now", zap.String("name", name), zap.Error(err))
			return fmt.Errorf("%w: %w", caddy.ErrEventAborted, err)
		}
		h.storeState(ctx, name)
	case "cert_obtained":
		if failed := h.tracker.RecordSuccess(name); failed > 0 {
			h.log.Info("a certificate was obtained after failures", zap.String("name", name), zap.Int("failures", failed))
		}
		h.storeState(ctx, name)
	case "cert_failed":
		err, _ := e.Data["error"].(error)
		if err == nil {
			err = errors.New("no reason was given")
		}
		issuers, _ := e.Data["issuers"].([]string)
		var served time.Time
		if cert, found := h.served(name); found {
			served = cert.Leaf.NotAfter
		}
		entry, isNew := h.tracker.RecordFailure(name, err, len(issuers) < 2, served)
		h.storeState(ctx, name)
		if isNew {
			h.logFailure(entry)
		}
	case "cached_managed_cert", "cached_unmanaged_cert":
		names, _ := e.Data["sans"].([]string)
		for _, name := range names {
			h.tracker.RecordLoaded(name, e.Name() == "cached_managed_cert")
		}
	}
	return nil
}

// logFailure writes one line that needs no knowledge of ACME, unlike those of certmagic.
func (h eventHandler) logFailure(e certs.Entry) {
	level := zap.WarnLevel
	if _, found := h.served(e.Name); !found {
		level = zap.ErrorLevel // clients can't reach the site
	}
	h.log.Log(level, "a certificate could not be obtained: "+e.LastFailure.Message, zap.String("name", e.Name),
		zap.String("reason", string(e.LastFailure.Reason)), zap.String("hint", e.LastFailure.Hint), zap.String("detail", e.LastFailure.Detail),
		zap.Int("tries", e.Failures), zap.Time("next_try", e.NextTry(time.Now())))
}

// restoreState reads the attempts for a name that failed before a restart, or at another edge. certmagic holds the lock of the name
// meanwhile, so that no other edge writes them.
func (h eventHandler) restoreState(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := h.storage.Load(ctx, statePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var entry certs.Entry
	if err == nil {
		err = json.Unmarshal(text, &entry)
	}
	if err != nil {
		h.log.Warn("the earlier failures of this certificate can't be read", zap.String("name", name), zap.Error(err))
		return
	}
	entry.Name = name
	h.tracker.Restore(entry)
}

// storeState writes the failed attempts for a name to the storage, or deletes them there if there are none.
func (h eventHandler) storeState(ctx context.Context, name string) {
	h.storageMu.Lock()
	defer h.storageMu.Unlock()
	entry, known := h.tracker.Entry(name)
	if !known {
		return // the tracker is full
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	var err error
	if path := statePath(name); len(entry.Attempts) > 0 || entry.LastFailure != nil {
		var text []byte
		if text, err = json.Marshal(entry); err == nil {
			err = h.storage.Store(ctx, path, text)
		}
	} else if h.storage.Exists(ctx, path) {
		err = h.storage.Delete(ctx, path)
	}
	if err != nil {
		h.log.Warn("the failures of this certificate can't be stored: after a restart, the edge would ask the authority again at once", zap.String("name", name), zap.Error(err))
	}
}
