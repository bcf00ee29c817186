package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/preflight"
)

// storageCheckTimeout bounds the check of the storage.
const storageCheckTimeout = 20 * time.Second

// serveChecks answers with what `edge check` can only find out from where the edge runs.
func serveChecks(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s not allowed; use GET", r.Method)}
	}
	all := []preflight.Finding{}
	if l := sharedRuntime(); l != nil {
		all = append(all, l.runChecks(r.Context())...)
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(preflight.NewReport(all))
}

// runChecks looks at what the configuration in force relies on.
func (l *runtime) runChecks(ctx context.Context) (all []preflight.Finding) {
	l.mu.Lock()
	a := l.active
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	if a.DockerHost != "" {
		all = append(all, preflight.CheckDockerHost(ctx, a.DockerHost))
	}
	ctx, cancel := context.WithTimeout(ctx, storageCheckTimeout)
	defer cancel()
	return append(all, preflight.CheckStorage(ctx, a.storage), preflight.CheckClock(time.Now()))
}

// checkStart returns an error if the edge had better not start: by a clock that is wrong no certificate is good, and by a storage
// that keeps none every restart would ask the authority for all of them. A full disk is no such thing, as long as it has
// what it needs. Only sites are concerned whose certificates the edge obtains.
func (a *App) checkStart(ctx caddy.Context) error {
	sites := sitesWithTLS(ctx)
	if app := tlsAppFrom(ctx); app != nil {
		for site := range sites {
			if app.HasCertificateForSubject(site) {
				delete(sites, site) // from a file
			}
		}
	}
	if len(sites) == 0 {
		return nil
	}
	if err := preflight.CheckClock(time.Now()).Err(); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, storageCheckTimeout)
	defer cancel()
	err := preflight.CheckStorage(patient, a.storage).Err()
	if preflight.IsStorageFull(err) {
		a.log.Error("certificates can't be kept", zap.Error(err))
		return nil
	}
	return err
}

// auditedEngine is an Engine whose endpoint is tried once, so that the log says if it lets through too much.
type auditedEngine struct {
	discovery.Engine
	log *zap.Logger
}

// auditInterval is how often an endpoint is tried that can't be asked yet.
const auditInterval = 10 * time.Second

// Run implements discovery.Source.
func (a auditedEngine) Run(ctx context.Context, sink discovery.Sink) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.audit(ctx)
	}()
	a.Engine.Run(ctx, sink)
	<-done
}

func (a auditedEngine) audit(ctx context.Context) {
	for {
		found := preflight.CheckDockerHost(ctx, a.DockerHost)
		if !found.IsInconclusive() {
			if found.Level != preflight.OK {
				a.log.Warn(found.Message, zap.String("hint", found.Hint))
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(auditInterval):
		}
	}
}
