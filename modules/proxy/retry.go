package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/resource"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

const (
	// maxRetries is how often a request is sent again after it was sent and not answered.
	maxRetries = 4
	// retryBackoffStep is how much longer each retry waits than the one before: if several containers fail together, the next
	// attempt is likely to fail too.
	retryBackoffStep = 20 * time.Millisecond
	// maxCrashes is how many endpoints may end during the request, without having been told to stop, before the edge assumes
	// that the request crashes them.
	maxCrashes = 2

	// endTimeout is how long a process may take to end after it has reset connections. Linux closes the files of a process that
	// ends one after the other, connections before the listener that accepted them.
	endTimeout = time.Second
	// minEndPoll is the first time between two checks whether it has ended. The time doubles.
	minEndPoll = 10 * time.Millisecond

	// stopEventTimeout is how long Docker's event that a container was told to stop may take to arrive. Mostly it takes less than
	// 10 ms, on a busy machine tens of them.
	stopEventTimeout = 100 * time.Millisecond
	// stopEventPollInterval is the time between two checks for the event.
	stopEventPollInterval = 5 * time.Millisecond
)

// retryPolicy limits how often one request is sent again after it was sent and not answered.
type retryPolicy struct {
	count        int                  // retries so far
	unansweredBy []*registry.Endpoint // the endpoints that did not answer; one twice if it was used again
	needsNewConn bool                 // an idle connection was closed
	isImmediate  bool                 // the request has not waited for an endpoint since the last of them
}

func (p *retryPolicy) addUnanswered(e *registry.Endpoint) {
	p.unansweredBy, p.isImmediate, p.needsNewConn = append(p.unansweredBy, e), true, true
}

// isRepeated reports whether the last two attempts failed on the same endpoint, one right after the other.
func (p *retryPolicy) isRepeated(e *registry.Endpoint) bool {
	last := len(p.unansweredBy) - 1
	return p.isImmediate && last >= 0 && p.unansweredBy[last] == e
}

// isIdempotent reports whether sending the request twice has the same effect as sending it once.
func (x *exchange) isIdempotent() bool { return upstreamconn.IsIdempotent(x.req.Method) }

// isReplayable reports whether the request may be sent again after it was sent and not answered.
func (x *exchange) isReplayable() bool { return x.isIdempotent() && x.body.isBuffered() }

// retryOrFail decides what follows a failed attempt. It returns nil for another attempt, else the error for the client.
func (x *exchange) retryOrFail(claim registry.Claim, err error) error {
	e := claim.Endpoint()
	switch x.classify(err) {
	case clientFault:
		return x.handleClientFault(err)
	case edgeExhausted:
		return x.waitForResources(e, err)
	case badResponse, invalidRequest:
		return x.fail(e, err)
	case dialFailed:
		if time.Since(x.startedAt) >= x.service.Hold() {
			return x.fail(e, err)
		}
		claim.ReportDialError(err.Error())
		x.retry.isImmediate = false
	case notDelivered:
		x.retry.needsNewConn = true
		return nil // to the same endpoint, which closes idle connections
	case noResponse:
		if err := x.retryUnanswered(claim, err); err != nil {
			return err
		}
	case endpointTerminating:
	}
	x.pickOptions.Avoid = append(x.pickOptions.Avoid, e)
	if c := x.log.Check(zap.DebugLevel, "trying another endpoint"); c != nil {
		c.Write(zap.String("service", x.Service), zap.String("address", e.Address()), zap.Error(err))
	}
	return nil
}

// retryUnanswered decides whether a request that was sent to an endpoint and not answered is sent again. It returns nil if it
// is, else the error for the client.
func (x *exchange) retryUnanswered(claim registry.Claim, err error) error {
	e := claim.Endpoint()
	if !x.retry.isRepeated(e) || e.IsStopExpected() || !x.hasEnded(claim) { // else one end of a process has failed both attempts
		x.retry.addUnanswered(e)
	}
	if !x.isReplayable() || x.retry.count == maxRetries || x.canBeIntentional(err) && e.IsReady() {
		return x.fail(e, err)
	}
	if x.retry.countCrashes(x.req.Context()) >= maxCrashes {
		setPlaceholder(x.req, "edge.request.repeatable", "false")
		return x.fail(e, err)
	}
	if isReusedConn(err) && len(x.retry.unansweredBy) == 1 {
		return nil // the endpoint may have closed an idle connection, which costs no retry
	}
	isAllowed, ctxErr := x.retry.awaitBudget(x.req.Context(), x.service, e)
	switch {
	case ctxErr != nil:
		return x.handleDisconnect()
	case !isAllowed:
		return x.fail(e, fmt.Errorf("the retry budget is spent: %w", err))
	}
	x.retry.count++
	return nil
}

// hasEnded reports whether the endpoint's process ends: whether nothing listens there within endTimeout. If so, it tells the
// registry.
func (x *exchange) hasEnded(claim registry.Claim) bool {
	ctx, cancel := context.WithTimeout(x.req.Context(), endTimeout)
	defer cancel()
	for wait := minEndPoll; ; wait *= 2 {
		err := upstreamconn.Of(claim.Endpoint()).Check(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			if _, isExhausted := resource.Exhausted(err); isExhausted {
				return false
			}
			claim.ReportDialError(err.Error())
			return true
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// canBeIntentional reports whether an application may leave such a request unanswered on purpose: it works for longer than
// the response timeout, or closes a connection instead of upgrading it. While its endpoint is ready, such a request is not
// sent again.
func (x *exchange) canBeIntentional(err error) bool {
	return errors.Is(err, errResponseTimeout) || x.req.Header.Get("Upgrade") != ""
}

// isReusedConn reports whether an attempt failed on a reused connection.
func isReusedConn(err error) bool {
	_, ok := errors.AsType[*upstreamconn.ReusedConnError](err)
	return ok
}

// countCrashes returns how many endpoints ended during the request without having been told to stop, so that the request may
// be the cause. It waits for stop events that may still arrive.
func (p *retryPolicy) countCrashes(ctx context.Context) int {
	for startedAt := time.Now(); ; {
		crashes := 0
		for _, e := range p.unansweredBy {
			if !e.IsStopExpected() {
				crashes++
			}
		}
		if crashes < maxCrashes || time.Since(startedAt) >= stopEventTimeout {
			return crashes
		}
		select {
		case <-time.After(stopEventPollInterval):
		case <-ctx.Done():
			return crashes
		}
	}
}

// awaitBudget waits for the backoff, and until the service's retry budget allows a retry of a request that e did not answer.
// It returns false if the budget does not allow it in time, and an error if the context ends.
func (p *retryPolicy) awaitBudget(ctx context.Context, service *registry.Service, e *registry.Endpoint) (bool, error) {
	select {
	case <-time.After(time.Duration(p.count) * retryBackoffStep):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return service.AllowRetry(ctx, e)
}
