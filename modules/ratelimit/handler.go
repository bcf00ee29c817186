// Package ratelimit is the directive `rate_limit`, which limits the requests of each client.
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

// Handler passes on a request if all its zones allow it. Otherwise it returns an error with the status 429, for `handle_errors`.
//
// The response headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) report the zone with the fewest
// remaining requests. Refusals also have `Retry-After` (RFC 9110 section 10.2.3).
type Handler struct {
	// The limits, in the order in which the handler asks them. If one refuses a request, those before it have counted it.
	Zones []*Zone `json:"zones"`

	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rate_limit", New: func() caddy.Module { return new(Handler) }}
}

// Provision parses the zones and acquires their counts, which outlive the configuration.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Logger()
	if len(h.Zones) == 0 {
		return errors.New("rate_limit: want at least one zone")
	}
	for i, z := range h.Zones {
		if z == nil {
			return fmt.Errorf("rate_limit: zone %d is null", i+1)
		}
		if slices.ContainsFunc(h.Zones[:i], func(other *Zone) bool { return other.Name == z.Name }) {
			return fmt.Errorf("rate_limit: zone %s is configured twice", z.Name)
		}
		if err := z.provision(ctx.GetMetricsRegistry()); err != nil {
			return err
		}
	}
	return registerMetrics(ctx.GetMetricsRegistry())
}

// Cleanup releases the counts.
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

// ServeHTTP counts the request in each zone, and refuses it if a zone is exhausted.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var lowest limitStatus
	for _, z := range h.Zones {
		if z.rules.allow.contains(r) {
			z.state.exempt.Add(1)
			continue
		}
		d := z.state.limiter.Take(z.rules.key.hash(z.state.limiter.HashKey(), r), z.rules.rate)
		switch {
		case d.Uncounted:
			z.state.uncounted.Add(1)
		case d.Allowed:
			z.state.allowed.Add(1)
		case z.DryRun:
			z.state.dryRun.Add(1)
			z.logRefusal(h.log, r, "a request would be refused: rate limit exceeded")
			continue
		default:
			z.state.limited.Add(1)
			z.logRefusal(h.log, r, "a request is refused: rate limit exceeded")
			limitStatus{z, d}.setRefusalHeaders(w.Header())
			return caddyhttp.Error(http.StatusTooManyRequests, errTooManyRequests)
		}
		if !z.DryRun && (lowest.zone == nil || d.Remaining < lowest.decision.Remaining) {
			lowest = limitStatus{z, d}
		}
	}
	lowest.setHeadersIfLowest(r.Context(), w.Header())
	return next.ServeHTTP(w, r)
}

// logInterval is the shortest time between two log lines about one zone.
const logInterval = time.Second

// logRefusal logs a refusal, at most once in a logInterval for each zone: an attack must not fill the disk.
func (z *Zone) logRefusal(log *zap.Logger, r *http.Request, message string) {
	now := time.Now().UnixNano()
	last := z.state.lastLogged.Load()
	if now-last < int64(logInterval) || !z.state.lastLogged.CompareAndSwap(last, now) {
		z.state.suppressed.Add(1)
		return
	}
	if c := log.Check(zap.WarnLevel, message); c != nil {
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
