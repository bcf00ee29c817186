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
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/certs"
)

// certsPath is where it is kept in Caddy's storage what failed: a restart is no reason to ask an authority again at once.
const certsPath = "edge/certificates.json"

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
		o.app.restoreCerts(ctx)
		renewal, _ := e.Data["renewal"].(bool)
		if err := book.Begin(name, renewal); err != nil {
			o.app.log.Warn("a certificate is not asked for now", zap.String("name", name), zap.Error(err))
			return fmt.Errorf("%w: %w", caddy.ErrEventAborted, err)
		}
		o.app.keepCerts(ctx)
	case "cert_obtained":
		if failed := book.Obtained(name); failed > 0 {
			o.app.log.Info("a certificate was obtained after failures", zap.String("name", name), zap.Int("failures", failed))
		}
		o.app.keepCerts(ctx)
	case "cert_failed":
		err, _ := e.Data["error"].(error)
		if err == nil {
			err = errors.New("no reason was given")
		}
		entry, news := book.Failed(name, err)
		o.app.keepCerts(ctx)
		if news {
			o.app.logCertFailure(entry)
		}
	case "cached_managed_cert", "cached_unmanaged_cert":
		names, _ := e.Data["sans"].([]string)
		for _, name := range names {
			book.Loaded(name, e.Name() == "cached_managed_cert")
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

// restoreCerts reads what failed before a restart, once in the life of the process.
func (a *App) restoreCerts(ctx context.Context) {
	a.living.certsOnce.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, storageTime)
		defer cancel()
		text, err := a.storage.Load(ctx, certsPath)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		var entries []certs.Entry
		if err == nil {
			err = json.Unmarshal(text, &entries)
		}
		if err != nil {
			a.log.Warn("it is not known which certificates failed before", zap.String("path", certsPath), zap.Error(err))
			return
		}
		a.living.certs.Restore(entries)
	})
}

// keepCerts writes down what fails. Attempts are minutes apart, so that it need not be clever.
func (a *App) keepCerts(ctx context.Context) {
	a.living.certsMu.Lock()
	defer a.living.certsMu.Unlock()
	var failing []certs.Entry
	for _, e := range a.living.certs.Entries() {
		if len(e.Attempts) > 0 || e.Last != nil {
			failing = append(failing, e)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTime)
	defer cancel()
	text, err := json.Marshal(failing)
	if err == nil && len(failing) == 0 {
		if !a.storage.Exists(ctx, certsPath) {
			return
		}
		err = a.storage.Delete(ctx, certsPath)
	} else if err == nil {
		err = a.storage.Store(ctx, certsPath, text)
	}
	if err != nil {
		a.log.Warn("which certificates failed is not kept; a restart would ask the authority again at once", zap.Error(err))
	}
}
