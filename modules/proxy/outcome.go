package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/logs"
)

// phaseTimes is how long a request has spent in the phases before its response.
type phaseTimes struct {
	attempts  int
	held      time.Duration // waiting for an endpoint, or for the end of a maintenance
	connect   time.Duration // in all attempts
	firstByte time.Duration // in the last attempt
}

// startHold begins a time for which the request is held, which ends when the function that it returns is called.
func (x *exchange) startHold() func() {
	start, endSpan := time.Now(), x.startHoldSpan()
	return func() {
		endSpan()
		x.times.held += time.Since(start)
	}
}

// add adds an attempt.
func (p *phaseTimes) add(t upstreamconn.Timing) {
	p.attempts++
	p.connect += t.Connect
	p.firstByte = t.FirstByte
}

// end notes the end of an exchange for the access log, and counts it unless a response is still to be sent.
func (x *exchange) end(resp *http.Response, err error) {
	x.addLogFields()
	x.describeSpan(err)
	switch {
	case errors.Is(err, errHijacked):
		x.count(http.StatusSwitchingProtocols)
	case err != nil:
		_, isMaintenance := errors.AsType[*maintenance.Error](err)
		x.addToTraffic(statusOf(err), true, isMaintenance)
	}
}

// count counts the request when it has ended.
func (x *exchange) count(status int) { x.addToTraffic(status, false, false) }

func (x *exchange) addToTraffic(status int, isOwn, isMaintenance bool) {
	x.traffic.Add(traffic.Request{
		Method: x.req.Method, Status: status, Duration: time.Since(x.startedAt),
		Held: x.times.held, Connect: x.times.connect, FirstByte: x.times.firstByte, TraceID: x.traceID(), IsOwn: isOwn, IsLost: x.isLost, IsMaintenance: isMaintenance,
	})
}

// traceID returns the ID of the request's trace, or "" if it is not recorded.
func (x *exchange) traceID() string {
	if x.span == nil || !x.span.SpanContext().IsSampled() {
		return ""
	}
	return x.span.SpanContext().TraceID().String()
}

// statusOf returns the status that reverse_proxy makes of an error of the transport.
func statusOf(err error) int {
	if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return failure.StatusCode
	}
	switch {
	case errors.Is(err, context.Canceled):
		return statusClientClosed
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// statusClientClosed is what logs show for a client that disconnected before its response.
const statusClientClosed = 499

// addLogFields adds to the access log what happened to the request before its response.
func (x *exchange) addLogFields() {
	fields, ok := x.req.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok || !isLogged(x.req) {
		return
	}
	x.logged = x.times.logFields()
	x.logged.Service, x.logged.RequestID, x.logged.UUID = x.Service, x.requestID, x.uuid
	if x.endpoint != nil {
		x.logged.Endpoint = x.endpoint.Address()
	}
	fields.Set(x.logged.Field())
}

// logFields returns the fields of a log with the times.
func (p *phaseTimes) logFields() logs.RequestFields {
	return logs.RequestFields{Attempts: p.attempts, Held: p.held, Upstream: p.firstByte}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// isLogged reports whether the server writes access logs.
func isLogged(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server.Logs != nil
}

const (
	requestIDHeader = "X-Request-Id"
	// uuidVar is the variable with Caddy's ID of a request. When Caddy makes the ID, it also adds that to the access log, at 3 % of what a request allocates,
	// even if there is no such log.
	uuidVar = "uuid"
	// maxRequestID is the longest ID of a client that is used.
	maxRequestID = 128
)

// requestUUID is the ID of a request that the edge has made in Caddy's place.
type requestUUID string

// setRequestID gives the request an ID, by which the logs of the edge and of the application can be joined, unless the client has given it one.
func (x *exchange) setRequestID() {
	id := caddyhttp.GetVar(x.req.Context(), uuidVar)
	made, _ := id.(requestUUID) // for an exchange before, as with `handle_response`
	x.uuid = string(made)
	if x.requestID = x.req.Header.Get(requestIDHeader); x.requestID != "" && len(x.requestID) <= maxRequestID {
		return
	}
	repl, ok := x.req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	switch {
	case made != "":
		x.requestID = x.uuid
	case id == nil:
		x.requestID = uuid.NewString()
		x.uuid = x.requestID
		repl.Set("http.request.uuid", x.uuid)
		caddyhttp.SetVar(x.req.Context(), uuidVar, requestUUID(x.uuid))
	default: // Caddy's, since something has asked for it
		x.requestID, _ = repl.GetString("http.request.uuid")
	}
	x.req.Header[requestIDHeader] = []string{x.requestID}
}
