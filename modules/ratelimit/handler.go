// Package ratelimit is the directive `rate_limit`: how many requests a client may make.
package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler lets a request pass if all its zones do, and answers it with an error 429 if one does not, for `handle_errors`.
//
// Answers tell the limit that is nearest in the header fields `RateLimit-Policy` and `RateLimit` of
// draft-ietf-httpapi-ratelimit-headers-11, refusals also in `Retry-After` (RFC 9110, section 10.2.3).
type Handler struct {
	// The limits, in the order in which they are tried. What an earlier one has counted stays counted if a later one
	// refuses.
	Zones []*Zone `json:"zones"`

	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rate_limit", New: func() caddy.Module { return new(Handler) }}
}

// Provision checks the zones and takes a reference to what they have counted, which outlives the configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Logger()
	if len(h.Zones) == 0 {
		return errors.New("rate_limit: want at least one zone")
	}
	for i, z := range h.Zones {
		if z == nil {
			return fmt.Errorf("rate_limit: zone %d is none", i+1)
		}
		if slices.ContainsFunc(h.Zones[:i], func(other *Zone) bool { return other.Name == z.Name }) {
			return fmt.Errorf("rate_limit: zone %s is there twice", z.Name)
		}
		if err := z.provision(ctx.GetMetricsRegistry()); err != nil {
			return err
		}
	}
	return registerMetrics(ctx.GetMetricsRegistry())
}

// Cleanup gives the counts back.
func (h *Handler) Cleanup() error {
	for _, z := range h.Zones {
		if z == nil {
			continue
		}
		if err := z.release(); err != nil {
			return err
		}
	}
	return nil
}

// ServeHTTP counts the request in each zone.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var nearest limitStatus
	for _, z := range h.Zones {
		if z.isExempt(r) {
			z.state.exempt.Add(1)
			continue
		}
		d := z.state.limiter.Take(z.keyHash(r), z.rate)
		switch {
		case d.Uncounted:
			z.state.uncounted.Add(1)
		case d.Allowed:
			z.state.allowed.Add(1)
		case z.DryRun:
			z.state.dryRun.Add(1)
			z.logRefusal(h.log, r, "a request would be refused: too many")
			continue
		default:
			z.state.limited.Add(1)
			z.logRefusal(h.log, r, "a request is refused: too many")
			limitStatus{z, d}.setRefusalHeaders(w.Header())
			return caddyhttp.Error(http.StatusTooManyRequests, errTooManyRequests)
		}
		if !z.DryRun && (nearest.zone == nil || d.Remaining < nearest.decision.Remaining) {
			nearest = limitStatus{z, d}
		}
	}
	nearest.setHeadersIfLowest(r.Context(), w.Header())
	return next.ServeHTTP(w, r)
}

// logInterval is the shortest time between two lines about one zone.
const logInterval = time.Second

// logRefusal writes a line about a refusal, and at most one a second for each zone: an attack must not fill the disk.
func (z *Zone) logRefusal(log *zap.Logger, r *http.Request, what string) {
	now := time.Now().UnixNano()
	last := z.state.lastLogged.Load()
	if now-last < int64(logInterval) || !z.state.lastLogged.CompareAndSwap(last, now) {
		z.state.suppressed.Add(1)
		return
	}
	if c := log.Check(zap.WarnLevel, what); c != nil {
		c.Write(zap.String("zone", z.Name), zap.String("client_ip", clientIP(r)), zap.String("host", r.Host),
			zap.String("uri", r.RequestURI), zap.Int64("more", z.state.suppressed.Swap(0)))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
