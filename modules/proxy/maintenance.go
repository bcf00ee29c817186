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

// maintenanceWindow returns the maintenance that keeps a request from the service; nil if none does.
func (t *Transport) maintenanceWindow(req *http.Request) *maintenance.Window {
	c := t.app.MaintenanceWindow(t.Service)
	if c == nil || len(c.Allow) > 0 && c.Allows(clientAddr(req)) {
		return nil
	}
	return c
}

// clientAddr returns the address that Caddy takes for the client's, which strangers can't claim; the zero one if there is none.
func clientAddr(req *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(req.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := netip.ParseAddr(text) // or the zero one
	return addr
}

// waitForMaintenanceEnd holds a request until the service is open to it. It returns the answer if that takes too long, or if requests are
// refused from now on.
func (x *exchange) waitForMaintenanceEnd(c *maintenance.Window) error {
	if !c.Hold {
		return maintenanceError(c)
	}
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	for ; c != nil; c = x.maintenanceWindow(x.req) {
		if !c.Hold {
			return maintenanceError(c)
		}
		err := x.service.Pause(ctx, x.client(), x.startedAt, c.Done())
		switch {
		case ctx.Err() != nil:
			return x.handleDisconnect()
		case errors.Is(err, registry.ErrClosed):
			return x.refuse(err) // the edge stops
		case err != nil:
			return maintenanceError(c)
		}
	}
	return nil
}

// maintenanceError is the answer of a service in maintenance.
func maintenanceError(c *maintenance.Window) error {
	return caddyhttp.Error(http.StatusServiceUnavailable, c.Err())
}

// retryAfterHeader returns the Retry-After of a refusal.
func retryAfterHeader(err error) string {
	if closed, ok := errors.AsType[*maintenance.Error](err); ok {
		return strconv.Itoa(int((closed.RetryAfter + time.Second - 1) / time.Second))
	}
	return defaultRetryAfter
}
