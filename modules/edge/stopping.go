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
	return errors.Join(events.On("started", onStarted{a}), events.On("stopping", onStopping{a}), a.watchCerts(events))
}

// onStopping is told that a configuration stops: because of another one, or because the process ends.
type onStopping struct{ app *App }

// Handle implements caddyevents.Handler.
func (s onStopping) Handle(ctx context.Context, _ caddy.Event) error {
	if caddy.Exiting() {
		s.app.farewell(ctx)
	}
	return nil
}

// parting is how long the last socket may take to close.
const parting = 4 * time.Second

// farewell has held requests fail, rather than wait out the grace period, and closes the sockets in the course of the
// close window. It returns when they are closed: until then the listeners are open, so that clients that leave early
// don't find the door shut behind them.
func (a *App) farewell(ctx context.Context) {
	a.living.registry.StopHolding()
	window := cmp.Or(time.Duration(a.CloseWindow), registry.DefaultCloseWindow)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), window+parting)
	defer cancel()
	a.living.tunnels.Drain(window, "the edge stops")
	_ = a.living.tunnels.Wait(ctx) // those that are left end with the process
}
