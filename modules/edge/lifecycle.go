package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/modules/certificates"
	"github.com/theworklabs/edge/modules/listeners"
)

// Caddy starts a new configuration while the old one runs, and finds out only then whether all of its apps can start: a port may be
// in use. So a new configuration changes nothing that the old one uses until Caddy reports that all of it has started.

// subscribe handles the events of Caddy that this configuration needs.
func (a *App) subscribe(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("load the events app: %w", err)
	}
	events := app.(*caddyevents.App)
	return errors.Join(
		events.On("started", startedHandler{a, ctx}),
		events.On("stopping", stoppingHandler{a}),
		events.On("cert_obtained", certificateHandler{a.runtime}),
		events.On("cert_failed", certificateHandler{a.runtime}),
		a.runtime.certificates.Subscribe(events, a.storage, a.log),
	)
}

// startedHandler activates a configuration when Caddy has started all of it.
type startedHandler struct {
	app *App
	ctx caddy.Context // of the configuration
}

// Handle implements caddyevents.Handler.
func (h startedHandler) Handle(context.Context, caddy.Event) error {
	h.app.runtime.certificates.Activate(h.app.provisionedAt)
	if err := h.app.activate(); err != nil {
		return err
	}
	go h.app.announceReady(h.ctx)
	return nil
}

// certificateWait is how long a start waits for certificates that are in the storage.
const certificateWait = 5 * time.Second

// announceReady has connections accepted that wait in sockets which were opened for the edge, when it knows its endpoints and has loaded its
// certificates.
func (a *App) announceReady(config caddy.Context) {
	ctx, cancel := context.WithTimeout(context.Background(), certificateWait)
	defer cancel()
	certificates.WaitUntilLoaded(ctx, config, a.storage)
	a.WaitForSync(context.Background())
	listeners.Ready(config)
}

// activate puts the configuration in force: its logs, the settings of its services, and its sources. Nothing else is activated
// meanwhile: Caddy starts and stops one configuration at a time (it holds its lock rawCfgMu).
func (a *App) activate() error {
	a.runtime.logs.set(a.log, a.httpLog)
	listeners.OnAcceptError(func(err error) {
		if kind, isExhausted := resource.Exhausted(err); isExhausted {
			a.ReportExhausted(kind, err)
		}
	})
	if err := a.configureServices(nil); err != nil {
		return err
	}
	if a.runtime.setActive(a) {
		a.runtime.noteActivation()
	}
	a.runtime.maintenance.Start()
	a.runtime.drains.Start()
	a.runtime.sources.reconcile(a.sourceSettings())
	a.runtime.restarter.reconcile(restartSettings{a.DockerHost, time.Duration(a.RestartUnhealthy)})
	return nil
}

// configureServices applies the settings of the services, except those that another configuration routes to.
func (a *App) configureServices(except *App) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, u := range a.services {
		if except.routesTo(name) {
			continue
		}
		if err := a.configureService(u); err != nil {
			return err
		}
	}
	return nil
}

// routesTo reports whether the configuration routes to a service. A nil configuration routes to none.
func (a *App) routesTo(name string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services[name] != nil
}

// stoppingHandler shuts the edge down when the process ends. Caddy reports the stop of every configuration, also in a reload.
type stoppingHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (h stoppingHandler) Handle(ctx context.Context, _ caddy.Event) error {
	if caddy.Exiting() {
		h.app.shutdown(ctx)
	}
	return nil
}

// closeGrace is how long the last WebSockets may take to close.
const closeGrace = 4 * time.Second

// shutdown first serves for ShutdownDelay, while /health fails, so that a load balancer sends clients elsewhere. Then it fails the requests that are held, which would otherwise wait for the grace period, closes the WebSockets over the close window,
// and lets the clients of other connections go. It returns when they are closed. Until then the listeners are open, so that clients whose
// connection is closed early can still connect.
func (a *App) shutdown(ctx context.Context) {
	if delay := time.Duration(a.ShutdownDelay); delay > 0 {
		listeners.BeginLeave()
		time.Sleep(delay)
	}
	a.runtime.registry.StopHolding()
	window := cmp.Or(time.Duration(a.CloseWindow), registry.DefaultCloseWindow)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), window+closeGrace)
	defer cancel()
	a.runtime.tunnels.Drain(window, "the edge stops")
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.runtime.tunnels.Wait(ctx) }) // sockets that are still open end with the process
	wg.Go(func() { listeners.Leave(ctx, listeners.LeaveOptions{Window: window, Quiet: listeners.ExitQuiet}) })
	wg.Wait()
}
