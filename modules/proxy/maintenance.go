package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
)

// closure returns the maintenance that keeps a request from the service; nil if none does.
func (t *Transport) closure(req *http.Request) *maintenance.Closure {
	c := t.app.Closure(t.Service)
	if c == nil || len(c.Allow) > 0 && c.Admits(clientOf(req)) {
		return nil
	}
	return c
}

// clientOf returns the address that Caddy takes for the client's, which strangers can't claim; the zero one if there is none.
func clientOf(req *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(req.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := netip.ParseAddr(text) // or the zero one
	return addr
}

// acquire claims an endpoint, unless the service's maintenance has begun while the request waited for one. began is when it
// came.
func (t *Transport) acquire(req *http.Request, want registry.Want, began time.Time) (registry.Claim, error) {
	for {
		claim, err := t.service.Acquire(req.Context(), want)
		if err != nil {
			return registry.Claim{}, t.refuse(req, err)
		}
		closed := t.closure(req)
		if closed == nil {
			return claim, nil
		}
		claim.Release()
		want.At = time.Time{} // it is counted
		if err := t.waitOut(req, closed, began); err != nil {
			return registry.Claim{}, err
		}
	}
}

// waitOut holds a request until the service is open to it. began is when it came. It returns the answer if that takes too long,
// or if requests are refused from now on.
func (t *Transport) waitOut(req *http.Request, c *maintenance.Closure, began time.Time) error {
	for ; c != nil; c = t.closure(req) {
		if !c.Hold {
			return shut(c)
		}
		err := t.service.Pause(req.Context(), began, c.Over())
		switch {
		case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
			return err
		case errors.Is(err, registry.ErrClosed):
			return t.refuse(req, err) // the edge stops
		case err != nil:
			return shut(c)
		}
	}
	return nil
}

// shut is the answer of a service in maintenance.
func shut(c *maintenance.Closure) error {
	return caddyhttp.Error(http.StatusServiceUnavailable, c.Refusal())
}

// retryTime returns the Retry-After of a refusal.
func retryTime(err error) string {
	if closed, ok := errors.AsType[*maintenance.Closed](err); ok {
		return strconv.Itoa(int((closed.RetryAfter + time.Second - 1) / time.Second))
	}
	return retryAfter
}
