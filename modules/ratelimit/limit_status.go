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

// errTooManyRequests is the error of a refusal, as in the placeholder `{err.message}`. The zone is in the response headers.
var errTooManyRequests = errors.New("too many requests")

// limitStatus is what the response headers tell the client: a zone and its decision.
type limitStatus struct {
	zone     *Zone
	decision ratelimit.Decision
}

// setHeaders sets RateLimit-Policy and RateLimit.
func (s limitStatus) setHeaders(h http.Header) {
	h["Ratelimit-Policy"] = s.zone.policyHeader
	item := make([]byte, 0, 48)
	item = append(item, s.zone.limitHeaderPrefix...)
	item = strconv.AppendInt(item, int64(s.decision.Remaining), 10)
	if s.decision.RetryAfter > 0 {
		item = append(item, ";t="...)
		item = strconv.AppendInt(item, ceilSeconds(s.decision.RetryAfter), 10)
	}
	h["Ratelimit"] = []string{string(item)}
}

// remainingVar is the variable of a request with the remaining requests that its headers report.
const remainingVar = "edge.rate_limit.left"

// setHeadersIfLowest sets the headers, unless an earlier handler of the route has reported as few or fewer remaining requests. It
// does nothing if there is no zone.
func (s limitStatus) setHeadersIfLowest(ctx context.Context, h http.Header) {
	if s.zone == nil {
		return
	}
	if remaining, ok := caddyhttp.GetVar(ctx, remainingVar).(int); ok && remaining <= s.decision.Remaining {
		return
	}
	caddyhttp.SetVar(ctx, remainingVar, s.decision.Remaining)
	s.setHeaders(h)
}

// setRefusalHeaders sets the headers of a refusal, which include Retry-After.
func (s limitStatus) setRefusalHeaders(h http.Header) {
	s.setHeaders(h)
	h["Retry-After"] = []string{strconv.FormatInt(ceilSeconds(s.decision.RetryAfter), 10)}
}

// ceilSeconds rounds up to seconds, so that a client that waits for that time is not refused again.
func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
