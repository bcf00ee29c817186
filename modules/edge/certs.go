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

// certsPath is where it is kept in Caddy's storage what failed for a name: neither a restart nor another edge with the same
// storage is a reason to ask an authority again at once.
func certsPath(name string) string {
	return "edge/certificates/" + certmagic.StorageKeys.Safe(name) + ".json"
}

// watchCerts has the app told what becomes of certificates.
func (a *App) watchCerts(events *caddyevents.App) error {
	watcher := onCert{a}
	var err error
	for _, name := range []string{"cert_obtaining", "cert_obtained", "cert_failed", "cached_managed_cert", "cached_unmanaged_cert"} {
		err = errors.Join(err, events.On(name, watcher))
	}
	return err
}

// onCert is told what certmagic does about certificates.
type onCert struct{ app *App }

// Handle implements caddyevents.Handler. For cert_obtaining, its error keeps certmagic from asking the authority.
func (o onCert) Handle(ctx context.Context, e caddy.Event) error {
	book := &o.app.living.certs
	name, _ := e.Data["identifier"].(string)
	switch e.Name() {
	case "cert_obtaining":
		o.app.restoreCert(ctx, name)
		renewal, _ := e.Data["renewal"].(bool)
		if err := book.BeginAttempt(name, renewal); err != nil {
			o.app.log.Warn("a certificate is not asked for now", zap.String("name", name), zap.Error(err))
			return fmt.Errorf("%w: %w", caddy.ErrEventAborted, err)
		}
		o.app.keepCert(ctx, name)
	case "cert_obtained":
		if failed := book.RecordSuccess(name); failed > 0 {
			o.app.log.Info("a certificate was obtained after failures", zap.String("name", name), zap.Int("failures", failed))
		}
		o.app.keepCert(ctx, name)
	case "cert_failed":
		err, _ := e.Data["error"].(error)
		if err == nil {
			err = errors.New("no reason was given")
		}
		issuers, _ := e.Data["issuers"].([]string)
		var served time.Time
		if cert, found := certificate(name); found {
			served = cert.Leaf.NotAfter
		}
		entry, news := book.RecordFailure(name, err, len(issuers) < 2, served)
		o.app.keepCert(ctx, name)
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
	a.log.Log(level, "a certificate could not be obtained: "+e.Last.Message, zap.String("name", e.Name),
		zap.String("reason", string(e.Last.Reason)), zap.String("hint", e.Last.Hint), zap.String("detail", e.Last.Detail),
		zap.Int("tries", e.Tries), zap.Time("next_try", e.NextTry(time.Now())))
}

// restoreCert reads what failed for a name before a restart, or at another edge. It is called while certmagic holds the name's
// lock, so that no edge writes meanwhile.
func (a *App) restoreCert(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, storageTime)
	defer cancel()
	text, err := a.storage.Load(ctx, certsPath(name))
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
	a.living.certs.Restore(entry)
}

// keepCert writes down what failed for a name.
func (a *App) keepCert(ctx context.Context, name string) {
	a.living.certsMu.Lock()
	defer a.living.certsMu.Unlock()
	entry, known := a.living.certs.Entry(name)
	if !known {
		return // there are too many
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTime)
	defer cancel()
	var err error
	if path := certsPath(name); len(entry.Attempts) > 0 || entry.Last != nil {
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
