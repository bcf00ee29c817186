package proxy

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/downstream"
)

// maintenanceWindow returns the maintenance window that keeps a request from the service; nil if there is none.
func (t *Transport) maintenanceWindow(req *http.Request) *maintenance.Window {
	window := t.app.MaintenanceWindow(t.Service)
	if window == nil || len(window.Allow) > 0 && window.Allows(clientAddr(req)) {
		return nil
	}
	return window
}

// clientAddr returns the client's address as Caddy determines it, so that clients can't spoof it; the zero Addr if there is
// none.
func clientAddr(req *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(req.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := netip.ParseAddr(text) // or the zero one
	return addr
}

// awaitMaintenanceEnd holds the request while the service is closed to it. It returns the error for the client if the
// maintenance refuses requests, or lasts too long.
func (x *exchange) awaitMaintenanceEnd() error {
	for {
		window := x.maintenanceWindow(x.req)
		if window == nil {
			return nil
		}
		if !window.Hold {
			return maintenanceError(window)
		}
		if err := x.pause(window); err != nil {
			return err
		}
	}
}

// pause holds the request until a maintenance window ends or is replaced.
func (x *exchange) pause(window *maintenance.Window) error {
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	defer x.startHold()()
	err := x.service.Pause(ctx, x.client(), x.startedAt, window.Done())
	switch {
	case ctx.Err() != nil:
		return x.handleDisconnect()
	case errors.Is(err, registry.ErrClosed):
		return x.refuse(err) // the edge stops
	case err != nil:
		return maintenanceError(window)
	}
	return nil
}

// maintenanceError returns the error for a client of a service in maintenance.
func maintenanceError(window *maintenance.Window) error {
	return caddyhttp.Error(http.StatusServiceUnavailable, window.Err())
}

// defaultRetryAfter is how many seconds a refused client should wait: about the time in which a container starts.
const defaultRetryAfter = "5"

// retryAfterHeader returns the Retry-After of a refused request, in seconds.
func retryAfterHeader(err error) string {
	if maintenanceErr, ok := errors.AsType[*maintenance.Error](err); ok {
		return strconv.Itoa(int((maintenanceErr.RetryAfter + time.Second - 1) / time.Second))
	}
	return defaultRetryAfter
}
