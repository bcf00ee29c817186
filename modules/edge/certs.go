package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/certs"
)

// certStatePath is where it is kept in Caddy's storage what failed for a name: neither a restart nor another edge with the same
// storage is a reason to ask an authority again at once.
func certStatePath(name string) string {
	return "edge/certificates/" + certmagic.StorageKeys.Safe(name) + ".json"
}

// subscribeCertEvents has the app told what becomes of certificates.
func (a *App) subscribeCertEvents(events *caddyevents.App) error {
	watcher := certEventHandler{a}
	var err error
	for _, name := range []string{"cert_obtaining", "cert_obtained", "cert_failed", "cached_managed_cert", "cached_unmanaged_cert"} {
		err = errors.Join(err, events.On(name, watcher))
	}
	return err
}

// certEventHandler is told what certmagic does about certificates.
type certEventHandler struct{ app *App }

// Handle implements caddyevents.Handler. For cert_obtaining, its error keeps certmagic from asking the authority.
func (o certEventHandler) Handle(ctx context.Context, e caddy.Event) error {
	book := &o.app.runtime.certTracker
	name, _ := e.Data["identifier"].(string)
	switch e.Name() {
	case "cert_obtaining":
		o.app.restoreCertState(ctx, name)
		renewal, _ := e.Data["renewal"].(bool)
		if err := book.BeginAttempt(name, renewal); err != nil {
			o.app.log.Warn("a certificate is not asked for now", zap.String("name", name), zap.Error(err))
			return fmt.Errorf("%w: %w", caddy.ErrEventAborted, err)
		}
		o.app.storeCertState(ctx, name)
	case "cert_obtained":
		if failed := book.RecordSuccess(name); failed > 0 {
			o.app.log.Info("a certificate was obtained after failures", zap.String("name", name), zap.Int("failures", failed))
		}
		o.app.storeCertState(ctx, name)
	case "cert_failed":
		err, _ := e.Data["error"].(error)
		if err == nil {
			err = errors.New("no reason was given")
		}
		issuers, _ := e.Data["issuers"].([]string)
		var served time.Time
		if cert, found := servedCertificate(name); found {
			served = cert.Leaf.NotAfter
		}
		entry, news := book.RecordFailure(name, err, len(issuers) < 2, served)
		o.app.storeCertState(ctx, name)
		if news {
			o.app.logCertFailure(entry)
		}
	case "cached_managed_cert", "cached_unmanaged_cert":
		names, _ := e.Data["sans"].([]string)
		for _, name := range names {
			book.RecordLoaded(name, e.Name() == "cached_managed_cert")
		}
	}
	return nil
}

// logCertFailure writes one line in words: certmagic's own lines are for those who know ACME.
func (a *App) logCertFailure(e certs.Entry) {
	level := zap.WarnLevel
	if !hasCertificate(e.Name) {
		level = zap.ErrorLevel // the site can't be reached
	}
	a.log.Log(level, "a certificate could not be obtained: "+e.LastFailure.Message, zap.String("name", e.Name),
		zap.String("reason", string(e.LastFailure.Reason)), zap.String("hint", e.LastFailure.Hint), zap.String("detail", e.LastFailure.Detail),
		zap.Int("tries", e.Failures), zap.Time("next_try", e.NextTry(time.Now())))
}

// restoreCertState reads what failed for a name before a restart, or at another edge. It is called while certmagic holds the name's
// lock, so that no edge writes meanwhile.
func (a *App) restoreCertState(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	text, err := a.storage.Load(ctx, certStatePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var entry certs.Entry
	if err == nil {
		err = json.Unmarshal(text, &entry)
	}
	if err != nil {
		a.log.Warn("it is not known whether this certificate failed before", zap.String("name", name), zap.Error(err))
		return
	}
	entry.Name = name
	a.runtime.certTracker.Restore(entry)
}

// storeCertState writes down what failed for a name.
func (a *App) storeCertState(ctx context.Context, name string) {
	a.runtime.certStorageMu.Lock()
	defer a.runtime.certStorageMu.Unlock()
	entry, known := a.runtime.certTracker.Entry(name)
	if !known {
		return // there are too many
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	var err error
	if path := certStatePath(name); len(entry.Attempts) > 0 || entry.LastFailure != nil {
		var text []byte
		if text, err = json.Marshal(entry); err == nil {
			err = a.storage.Store(ctx, path, text)
		}
	} else if a.storage.Exists(ctx, path) {
		err = a.storage.Delete(ctx, path)
	}
	if err != nil {
		a.log.Warn("whether this certificate failed is not kept; a restart would ask the authority again at once", zap.String("name", name), zap.Error(err))
	}
}
