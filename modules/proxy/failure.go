package proxy

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/redact"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/downstream"
)

// failureKind is why an attempt failed, and how far it got.
type failureKind int

const (
	clientFault         failureKind = iota // the client disconnected, or its body is too large, too slow or malformed
	edgeExhausted                          // the edge has run out of descriptors, ports or memory
	invalidRequest                         // the request can't be sent as it is
	dialFailed                             // no connection could be made
	endpointTerminating                    // a stopping container responded that it can't serve
	badResponse                            // the response is malformed or an unrequested upgrade
	noResponse                             // the request was sent, and no response came
	notDelivered                           // the endpoint had closed the connection before the request
)

// String returns the kind as the spans of attempts have it (error.type).
func (k failureKind) String() string {
	return [...]string{"client_fault", "edge_exhausted", "invalid_request", "dial_failed", "endpoint_terminating", "bad_response", "no_response", "not_delivered"}[k]
}

// classify returns why an attempt failed.
func (x *exchange) classify(err error) failureKind {
	if x.req.Context().Err() != nil || x.body.clientErr() != nil {
		return clientFault
	}
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return clientFault
	}
	if _, ok := errors.AsType[*upstreamconn.DialError](err); ok {
		if _, isExhausted := resource.Exhausted(err); isExhausted {
			return edgeExhausted
		}
		return dialFailed
	}
	if _, ok := errors.AsType[*upstreamconn.NotDeliveredError](err); ok && x.body.isBuffered() {
		return notDelivered
	}
	if _, ok := errors.AsType[*upstreamconn.InvalidRequestError](err); ok {
		return invalidRequest
	}
	switch {
	case errors.Is(err, errTerminating):
		return endpointTerminating
	case errors.Is(err, errResponseTimeout) || errors.Is(err, errNotReplayable):
		return noResponse
	case errors.Is(err, errUnrequestedUpgrade) || upstreamconn.IsMalformed(err):
		return badResponse
	}
	return noResponse
}

// reportFailure tells the registry about a failed attempt if it is the endpoint's fault, and returns the error.
func (x *exchange) reportFailure(claim registry.Claim, err error) error {
	if x.isEndpointFault(err) {
		claim.CountResponse(true, 0)
		claim.ReportFailure(err.Error(), x.client())
	}
	return err
}

// isEndpointFault reports whether an error counts against the endpoint. A failed dial does not, because it takes the endpoint
// out of rotation anyway. Neither does an unanswered upgrade, which the application may reject so, nor a reused connection
// that the endpoint may have closed because it was idle.
func (x *exchange) isEndpointFault(err error) bool {
	kind := x.classify(err)
	return (kind == badResponse || kind == noResponse) && x.req.Header.Get("Upgrade") == "" &&
		!isReusedConn(err) && !errors.Is(err, errNotReplayable)
}

// handleClientFault returns the error for a client that caused the failure itself.
func (x *exchange) handleClientFault(err error) error {
	if bodyErr := x.body.clientErr(); bodyErr != nil {
		err = bodyErr
	}
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err
	}
	return x.handleDisconnect()
}

// handleDisconnect ends the exchange with a client that has disconnected. reverse_proxy then logs status 499, and would send
// it to a client that has only closed its sending direction.
func (x *exchange) handleDisconnect() error {
	if err := x.req.Context().Err(); errors.Is(err, context.DeadlineExceeded) {
		return err // another handler's deadline has passed, and the client is still connected
	}
	downstream.ConnOf(x.req).CloseWrite()
	return context.Canceled
}

const (
	minResourceBackoff = 50 * time.Millisecond
	maxResourceBackoff = time.Second
)

// errExhausted is why a request failed for which the edge had no resources until the end of the hold time.
var errExhausted = errors.New("the edge has run out of resources of its own")

// waitForResources waits before the next attempt after the edge has run out of a resource. It returns the error for the
// client after the hold time.
func (x *exchange) waitForResources(e *registry.Endpoint, err error) error {
	kind, _ := resource.Exhausted(err)
	x.app.ReportExhausted(kind, err)
	if time.Since(x.startedAt) >= x.service.Hold() {
		x.lose(e, registry.OutcomeNotSent, "a request was not sent: the edge has run out of "+string(kind), err)
		return caddyhttp.Error(http.StatusServiceUnavailable,
			fmt.Errorf("%s: %s %s to %s: %w (%s): %w", x.Service, x.req.Method, redact.Path(x.req.URL.Path), e.Address(), errExhausted, kind, err))
	}
	wait := min(minResourceBackoff<<min(x.resourceWaits, 10), maxResourceBackoff)
	x.resourceWaits++
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return x.handleDisconnect()
	}
}

// fail returns the error for the client after the last attempt, counts the lost request, and logs its outcome.
func (x *exchange) fail(e *registry.Endpoint, err error) error {
	status := http.StatusBadGateway
	if errors.Is(err, errResponseTimeout) {
		status = http.StatusGatewayTimeout
	}
	_, isUnsent := errors.AsType[*upstreamconn.DialError](err)
	if _, ok := errors.AsType[*upstreamconn.NotDeliveredError](err); ok {
		isUnsent = true
	}
	if _, ok := errors.AsType[*upstreamconn.InvalidRequestError](err); ok {
		isUnsent, status = true, http.StatusInternalServerError
	}
	outcome := registry.OutcomeUnknown
	if isUnsent {
		outcome = registry.OutcomeNotSent
	} else if x.isIdempotent() {
		outcome = registry.OutcomeNotAnswered
	}
	setPlaceholder(x.req, "edge.service.down", "")
	x.lose(e, outcome, "a request was not answered", err)
	return caddyhttp.Error(status, fmt.Errorf("%s: %s %s at %s: outcome %s: %w",
		x.Service, x.req.Method, redact.Path(x.req.URL.Path), e.Address(), outcome, err))
}

// lose counts a request that got no complete answer, and logs it.
func (x *exchange) lose(e *registry.Endpoint, outcome registry.Outcome, message string, err error) {
	x.service.CountLost(outcome)
	x.isLost = true
	if c := x.log.Check(zap.WarnLevel, message); c != nil {
		c.Write(append(x.describe(e), zap.Stringer("outcome", outcome), zap.Int("deaths", len(x.retry.unansweredBy)), zap.Error(err))...)
	}
}

// describe returns the fields of a log entry about the request; e is nil if it has no endpoint.
func (x *exchange) describe(e *registry.Endpoint) []zap.Field {
	own := x.times.logFields()
	own.Service, own.RequestID = x.Service, x.requestID
	if e != nil {
		own.Endpoint = e.Address()
	}
	return []zap.Field{own.Field(), zap.String("method", x.req.Method), zap.String("uri", redact.Path(x.req.URL.Path)), zap.String("traceID", x.traceID())}
}

// noteIncomplete counts a response of which the endpoint's connection has not brought all. The client's own faults are no loss, and neither is the end of a
// stream of events: such streams end with each container, and browsers connect again.
func (x *exchange) noteIncomplete(e *registry.Endpoint, err error) {
	if x.classify(err) != clientFault {
		x.lose(e, registry.OutcomeIncomplete, "a response was incomplete", err)
	}
}

// isEventStream reports whether a response is a stream of server-sent events.
func isEventStream(header http.Header) bool {
	const eventStream = "text/event-stream"
	kind := header.Get("Content-Type")
	if len(kind) < len(eventStream) || !strings.EqualFold(kind[:len(eventStream)], eventStream) {
		return false // at less cost
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && media == eventStream
}

// refuse returns the error for the client when the registry has no endpoint for its request.
func (x *exchange) refuse(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return x.handleDisconnect()
	}
	setPlaceholder(x.req, "edge.service.down", downtimeText(err, x.service))
	x.service.CountLost(registry.OutcomeRefused)
	x.isLost = true
	x.logRefusal(err)
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// downtimeText returns for how long a service has had no ready endpoint, such as "3 minutes"; "" if the request was refused
// for another reason.
func downtimeText(err error, s *registry.Service) string {
	if !errors.Is(err, registry.ErrDown) && !errors.Is(err, registry.ErrUnknown) {
		return ""
	}
	down := time.Since(s.Status().Since)
	switch {
	case down < 2*time.Second:
		return "a second"
	case down < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(down.Seconds()))
	case down < 3*time.Hour:
		return fmt.Sprintf("%d minutes", int(down.Minutes()))
	}
	return fmt.Sprintf("%d hours", int(down.Hours()))
}

// logRefusal logs why requests are refused, with one of them as an example, at most every ten seconds: most are refused for the same reason.
func (x *exchange) logRefusal(err error) {
	const interval = 10 // seconds
	now, last := time.Now().Unix(), x.lastRefusalLog.Load()
	if now-last >= interval && x.lastRefusalLog.CompareAndSwap(last, now) {
		x.log.Error("requests are refused", append(x.describe(x.endpoint), zap.String("reason", x.app.Explain(err)))...)
	}
}
