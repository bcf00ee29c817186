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

// errTooMany is what `{err.message}` says; the client needs no more than the status and the headers.
var errTooMany = errors.New("too many requests")

// told is what a client is told about its limits: one zone and what it decided.
type told struct {
	zone     *Zone
	decision ratelimit.Decision
}

// write sets the header fields.
func (t told) write(h http.Header) {
	h["Ratelimit-Policy"] = t.zone.policy
	item := make([]byte, 0, 48)
	item = append(item, t.zone.item...)
	item = strconv.AppendInt(item, int64(t.decision.Remaining), 10)
	if t.decision.RetryAfter > 0 {
		item = append(item, ";t="...)
		item = strconv.AppendInt(item, seconds(t.decision.RetryAfter), 10)
	}
	h["Ratelimit"] = []string{string(item)}
}

// leftVar is where a handler tells those after it on the same route how many requests it has said are left.
const leftVar = "edge.rate_limit.left"

// writeIfNearest is write, unless an earlier handler has told of a limit that is nearer.
func (t told) writeIfNearest(ctx context.Context, h http.Header) {
	if t.zone == nil {
		return
	}
	if left, ok := caddyhttp.GetVar(ctx, leftVar).(int); ok && left <= t.decision.Remaining {
		return
	}
	caddyhttp.SetVar(ctx, leftVar, t.decision.Remaining)
	t.write(h)
}

// refuse sets those of a refusal.
func (t told) refuse(h http.Header) {
	t.write(h)
	h["Retry-After"] = []string{strconv.FormatInt(seconds(t.decision.RetryAfter), 10)}
}

// seconds rounds up: who comes back then is let in.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
