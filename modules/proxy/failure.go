package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/downstream"
)

// failureKind is whose doing it is that an attempt failed, and how far it came.
type failureKind int

const (
	clientFault         failureKind = iota // it has left, or its body is too large, too slow or not HTTP
	edgeExhausted                          // the edge has run out of something
	invalidRequest                         // the request is not one that can be sent
	dialFailed                             // no connection could be made
	endpointTerminating                    // it was answered by a container that stops, and can be asked for elsewhere
	badResponse                            // an answer came, which is none
	noResponse                             // it was sent, and no answer came
)

// classify says what it means that an attempt failed.
func (x *exchange) classify(err error) failureKind {
	if x.req.Context().Err() != nil || x.body.clientErr() != nil {
		return clientFault
	}
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return clientFault
	}
	if _, ok := errors.AsType[*upstreamconn.DialError](err); ok {
		if _, ours := resource.Exhausted(err); ours {
			return edgeExhausted
		}
		return dialFailed
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

// reportFailure tells the registry that an attempt failed if that speaks against the endpoint, and returns the error.
func (x *exchange) reportFailure(claim registry.Claim, err error) error {
	kind := x.classify(err)
	// A dial that fails takes the endpoint out of rotation anyway, and an upgrade may be refused without an answer.
	// So may a kept connection be closed that was idle.
	if (kind == badResponse || kind == noResponse) && x.req.Header.Get("Upgrade") == "" && !isReusedConn(err) && !errors.Is(err, errNotReplayable) {
		claim.ReportFailure(err.Error(), x.client())
	}
	return err
}

// handleClientFault is the answer to a client whose own doing it is that there is no other.
func (x *exchange) handleClientFault(err error) error {
	if bodyErr := x.body.clientErr(); bodyErr != nil {
		err = bodyErr
	}
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err
	}
	return x.handleDisconnect()
}

// handleDisconnect ends the exchange with a client that has left. reverse_proxy notes status 499 in the log then, which a client that
// closed its sending end alone must not get.
func (x *exchange) handleDisconnect() error {
	if err := x.req.Context().Err(); errors.Is(err, context.DeadlineExceeded) {
		return err // another handler's time is over, and the client is there
	}
	downstream.ConnOf(x.req).CloseWrite()
	return context.Canceled
}

const (
	minResourceBackoff = 50 * time.Millisecond
	maxResourceBackoff = time.Second
)

// errExhausted is why a request failed that found the edge without something it needs, until the hold time was over.
var errExhausted = errors.New("the edge has run out of resources of its own")

// waitForResources waits a little for the edge to have again what it has run out of. It returns the answer if that takes too long.
func (x *exchange) waitForResources(e *registry.Endpoint, err error) error {
	kind, _ := resource.Exhausted(err)
	x.app.ReportExhausted(kind, err)
	if time.Since(x.startedAt) >= x.service.Hold() {
		x.service.CountLost(registry.OutcomeNotSent)
		return caddyhttp.Error(http.StatusServiceUnavailable,
			fmt.Errorf("%s: %s %s to %s: %w (%s): %w", x.Service, x.req.Method, x.req.URL.Path, e.Address(), errExhausted, kind, err))
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

// fail turns the error of a last attempt into an answer, and says in the log when nobody knows what became of the
// request.
func (x *exchange) fail(e *registry.Endpoint, err error) error {
	status := http.StatusBadGateway
	if errors.Is(err, errResponseTimeout) {
		status = http.StatusGatewayTimeout
	}
	_, notSent := errors.AsType[*upstreamconn.DialError](err)
	if _, ok := errors.AsType[*upstreamconn.InvalidRequestError](err); ok {
		notSent, status = true, http.StatusInternalServerError
	}
	outcome := registry.OutcomeUnknown
	if notSent {
		outcome = registry.OutcomeNotSent
	} else if isIdempotent(x.req) {
		outcome = registry.OutcomeNotAnswered
	}
	x.service.CountLost(outcome)
	setPlaceholder(x.req, "edge.service.down", "")
	if c := x.log.Check(zap.WarnLevel, "a request was not answered"); c != nil {
		c.Write(zap.String("service", x.Service), zap.String("method", x.req.Method), zap.String("uri", x.req.URL.Path),
			zap.String("address", e.Address()), zap.Stringer("outcome", outcome), zap.Int("deaths", len(x.unansweredBy)), zap.Error(err))
	}
	return caddyhttp.Error(status, fmt.Errorf("%s: %s %s at %s: outcome %s: %w",
		x.Service, x.req.Method, x.req.URL.Path, e.Address(), outcome, err))
}
