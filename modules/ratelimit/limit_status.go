package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/ratelimit"
)

// errTooManyRequests is what `{err.message}` says; the client needs no more than the status and the headers.
var errTooManyRequests = errors.New("too many requests")

// limitStatus is what a client is told about its limits: one zone and what it decided.
type limitStatus struct {
	zone     *Zone
	decision ratelimit.Decision
}

// setHeaders sets the header fields.
func (t limitStatus) setHeaders(h http.Header) {
	h["Ratelimit-Policy"] = t.zone.policyHeader
	item := make([]byte, 0, 48)
	item = append(item, t.zone.limitHeaderPrefix...)
	item = strconv.AppendInt(item, int64(t.decision.Remaining), 10)
	if t.decision.RetryAfter > 0 {
		item = append(item, ";t="...)
		item = strconv.AppendInt(item, ceilSeconds(t.decision.RetryAfter), 10)
	}
	h["Ratelimit"] = []string{string(item)}
}

// remainingVar is where a handler tells those after it on the same route how many requests it has said are left.
const remainingVar = "edge.rate_limit.left"

// setHeadersIfLowest is write, unless an earlier handler has told of a limit that is nearer.
func (t limitStatus) setHeadersIfLowest(ctx context.Context, h http.Header) {
	if t.zone == nil {
		return
	}
	if left, ok := caddyhttp.GetVar(ctx, remainingVar).(int); ok && left <= t.decision.Remaining {
		return
	}
	caddyhttp.SetVar(ctx, remainingVar, t.decision.Remaining)
	t.setHeaders(h)
}

// setRefusalHeaders sets those of a refusal.
func (t limitStatus) setRefusalHeaders(h http.Header) {
	t.setHeaders(h)
	h["Retry-After"] = []string{strconv.FormatInt(ceilSeconds(t.decision.RetryAfter), 10)}
}

// ceilSeconds rounds up: who comes back then is let in.
func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
