package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/theworklabs/edge/internal/registry"
)

// subscribe has the configuration put in force when all of it has started, and ends what is the process's own before the
// process ends.
func (a *App) subscribe(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("load the events app: %w", err)
	}
	events := app.(*caddyevents.App)
	return errors.Join(events.On("started", startedHandler{a}), events.On("stopping", stoppingHandler{a}), a.subscribeCertEvents(events))
}

// stoppingHandler is told that a configuration stops: because of another one, or because the process ends.
type stoppingHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (s stoppingHandler) Handle(ctx context.Context, _ caddy.Event) error {
	if caddy.Exiting() {
		s.app.shutdown(ctx)
	}
	return nil
}

// closeGrace is how long the last socket may take to close.
const closeGrace = 4 * time.Second

// shutdown has held requests fail, rather than wait out the grace period, and closes the sockets in the course of the
// close window. It returns when they are closed: until then the listeners are open, so that clients that leave early
// don't find the door shut behind them.
func (a *App) shutdown(ctx context.Context) {
	a.runtime.registry.StopHolding()
	window := cmp.Or(time.Duration(a.CloseWindow), registry.DefaultCloseWindow)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), window+closeGrace)
	defer cancel()
	a.runtime.tunnels.Drain(window, "the edge stops")
	_ = a.runtime.tunnels.Wait(ctx) // those that are left end with the process
}
