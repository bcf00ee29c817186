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
	var nearest told
	for _, z := range h.Zones {
		if z.exempts(r) {
			z.counts.exempt.Add(1)
			continue
		}
		d := z.counts.limiter.Take(z.key(r), z.rate)
		switch {
		case d.Uncounted:
			z.counts.uncounted.Add(1)
		case d.Allowed:
			z.counts.allowed.Add(1)
		case z.DryRun:
			z.counts.dryRun.Add(1)
			z.tell(h.log, r, "a request would be refused: too many")
			continue
		default:
			z.counts.limited.Add(1)
			z.tell(h.log, r, "a request is refused: too many")
			told{z, d}.refuse(w.Header())
			return caddyhttp.Error(http.StatusTooManyRequests, errTooMany)
		}
		if !z.DryRun && (nearest.zone == nil || d.Remaining < nearest.decision.Remaining) {
			nearest = told{z, d}
		}
	}
	nearest.writeIfNearest(r.Context(), w.Header())
	return next.ServeHTTP(w, r)
}

// quiet is the shortest time between two lines about one zone.
const quiet = time.Second

// tell writes a line about a refusal, and at most one a second for each zone: an attack must not fill the disk.
func (z *Zone) tell(log *zap.Logger, r *http.Request, what string) {
	now := time.Now().UnixNano()
	last := z.counts.told.Load()
	if now-last < int64(quiet) || !z.counts.told.CompareAndSwap(last, now) {
		z.counts.untold.Add(1)
		return
	}
	if c := log.Check(zap.WarnLevel, what); c != nil {
		c.Write(zap.String("zone", z.Name), zap.String("client_ip", clientIP(r)), zap.String("host", r.Host),
			zap.String("uri", r.RequestURI), zap.Int64("more", z.counts.untold.Swap(0)))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
