package edge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/preflight"
	"github.com/theworklabs/edge/modules/certificates"
)

// storageCheckTimeout bounds the check of the storage.
const storageCheckTimeout = 20 * time.Second

// getChecks answers with the checks of `edge check` that only the running edge can do.
func getChecks(r *http.Request) (any, error) {
	if caddy.ActiveContext().Context == nil { // no checks would look like checks without a finding
		return nil, apiError(http.StatusServiceUnavailable, errors.New("the edge is starting"))
	}
	all := []preflight.Finding{}
	if shared := sharedRuntime(); shared != nil {
		all = append(all, shared.activeApp().runChecks(r.Context())...)
	}
	return preflight.NewReport(all), nil
}

// runChecks checks what the configuration needs: the Docker host, the storage and the clock. A nil configuration needs nothing.
func (a *App) runChecks(ctx context.Context) (all []preflight.Finding) {
	if a == nil {
		return nil
	}
	if a.DockerHost != "" {
		all = append(all, preflight.CheckDockerHost(ctx, a.DockerHost))
	}
	ctx, cancel := context.WithTimeout(ctx, storageCheckTimeout)
	defer cancel()
	all = append(all, preflight.CheckStorage(ctx, a.storage), preflight.CheckClock(time.Now()))
	status, _ := a.runtime.recovery.Status(ctx, a.storage) // a storage that cannot be read is a finding already
	return append(all, preflight.CheckBackups(status, time.Now())...)
}

// checkStart returns an error if the edge must not start: with a wrong clock no certificate is valid, and with a storage that keeps no
// certificates every restart would ask the authority for all of them. With a full disk it starts, because it may have all that it
// needs. Configurations for which the edge obtains no certificates always pass.
func (a *App) checkStart(ctx caddy.Context) error {
	sites := certificates.Sites(ctx)
	if app := certificates.TLSApp(ctx); app != nil {
		for site := range sites {
			if app.HasCertificateForSubject(site) {
				delete(sites, site) // it is loaded from a file
			}
		}
	}
	if len(sites) == 0 {
		return nil
	}
	if err := preflight.CheckClock(time.Now()).Err(); err != nil {
		return err
	}
	checkCtx, cancel := context.WithTimeout(ctx, storageCheckTimeout)
	defer cancel()
	err := preflight.CheckStorage(checkCtx, a.storage).Err()
	if preflight.IsStorageFull(err) {
		a.log.Error("certificates can't be kept", zap.Error(err))
		return nil
	}
	return err
}
