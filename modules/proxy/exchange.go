package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/downstream"
)

// exchange is one request on its way to an answer: which endpoints it has been sent to, and what came of that.
type exchange struct {
	*Transport
	req         *http.Request
	body        *replayBody
	startedAt   time.Time
	binding     binding
	pickOptions registry.PickOptions

	retries       int                  // attempts after one that was sent and not answered
	unansweredBy  []*registry.Endpoint // those that it was sent to and not answered by
	resourceWaits int                  // times that it waited for the edge's own resources
}

func (t *Transport) newExchange(req *http.Request) *exchange {
	return &exchange{Transport: t, req: req, body: newReplayBody(req), startedAt: time.Now()}
}

// applyMaintenance refuses or holds the request while an operator has the service in maintenance.
func (x *exchange) applyMaintenance() error {
	if closed := x.maintenanceWindow(x.req); closed != nil {
		if err := x.waitForMaintenanceEnd(closed); err != nil {
			return err
		}
	}
	return nil
}

// bind finds out which endpoints the request may go to.
func (x *exchange) bind() {
	x.binding = x.affinity.bindingFor(x.req)
	x.pickOptions = registry.PickOptions{
		ArrivedAt: x.startedAt, Session: x.binding.sessionEndpoint, Prefer: x.binding.cookieEndpoint,
		Upgrade: x.req.Header.Get("Upgrade") != "", Replayable: isIdempotent(x.req) && x.body.isSmall(),
	}
}

// isReplayable reports whether the request may be sent once more after it was sent and not answered.
func (x *exchange) isReplayable() bool { return isIdempotent(x.req) && x.body.isReplayable() }

// acquire claims an endpoint, unless the service's maintenance has begun while the request waited for one.
func (x *exchange) acquire() (registry.Claim, error) {
	for {
		claim, ok := x.service.TryAcquire(x.pickOptions)
		x.pickOptions.ArrivedAt = time.Time{} // it is counted
		if !ok {
			var err error
			if claim, err = x.hold(); err != nil {
				return registry.Claim{}, err
			}
		}
		closed := x.maintenanceWindow(x.req)
		if closed == nil {
			return claim, nil
		}
		claim.Release()
		if err := x.waitForMaintenanceEnd(closed); err != nil {
			return registry.Claim{}, err
		}
	}
}

// hold holds the request until there is an endpoint for it.
func (x *exchange) hold() (registry.Claim, error) {
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	x.pickOptions.Client = x.client()
	claim, err := x.service.Acquire(ctx, x.pickOptions)
	if err != nil {
		return registry.Claim{}, x.refuse(err)
	}
	return claim, nil
}

// client returns whom the request counts for; the zero Addr is nobody in particular.
func (x *exchange) client() netip.Addr {
	peer, _ := netip.ParseAddrPort(x.req.RemoteAddr) // or the zero one
	trusted, _ := caddyhttp.GetVar(x.req.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return x.app.ClientKey(clientAddr(x.req), peer.Addr(), trusted)
}

// send makes one attempt on a claimed endpoint. The claim is released when the answer's body is closed, unless the answer is one
// to take over.
func (x *exchange) send(claim registry.Claim) (*http.Response, error) {
	e := claim.Endpoint()
	setPlaceholder(x.req, "edge.endpoint.id", e.ID())
	setPlaceholder(x.req, "edge.endpoint.address", e.Address())
	ctx, cancel := context.WithCancelCause(upstreamconn.WithDialTimeout(x.req.Context(), time.Duration(x.DialTimeout)))
	if len(x.unansweredBy) > 0 {
		ctx = upstreamconn.WithNewConn(ctx)
	}
	late := newDeadline(time.Duration(x.ResponseTimeout), cancel)
	resp, err := e.Conns().(*upstreamconn.Conns).Send(x.body.attach(x.req.WithContext(ctx), late))
	inTime := late.stop()
	if err == nil && inTime {
		err = x.checkResponse(claim, resp)
	}
	if err != nil || !inTime {
		if err == nil {
			_ = resp.Body.Close() // its connection is being closed
		}
		cancel(nil)
		if !inTime {
			err = errResponseTimeout
		}
		return nil, x.reportFailure(claim, err)
	}
	if canHijack(x.req, resp) {
		cancel(nil)
		return resp, nil
	}
	resp.Body = newResponseBody(resp.Body, func() {
		cancel(nil)
		claim.Release()
	})
	return resp, nil
}

// Answers that are not passed on.
var (
	errUnrequestedUpgrade = errors.New("the endpoint switched protocols without being asked to")
	errTerminating        = errors.New("the endpoint was told to stop, and answers that it can't serve")
)

// checkResponse looks at an answer's head, tells the registry what it says of the endpoint, and returns why it is not one to pass on. The
// body is closed then.
func (x *exchange) checkResponse(claim registry.Claim, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		if !hasRequestedUpgrade(x.req, resp.Header.Get("Upgrade")) {
			_ = resp.Body.Close() // what is left of it is of no use
			return errUnrequestedUpgrade
		}
		claim.ReportSuccess()
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		claim.ReportFailure("status "+strconv.Itoa(resp.StatusCode), x.client())
		if x.isReplayable() && x.awaitTerminating(claim) && x.body.detach() {
			_ = resp.Body.Close() // another one is asked
			return errTerminating
		}
	default:
		claim.ReportSuccess()
	}
	return nil
}

// awaitTerminating reports whether a container that answers that it can't has been told to stop, of which the news may be on its way.
func (x *exchange) awaitTerminating(claim registry.Claim) bool {
	for range int(statusStopEventTimeout / stopEventPollInterval) {
		if claim.Endpoint().IsStopExpected() {
			return true
		}
		select {
		case <-time.After(stopEventPollInterval):
		case <-x.req.Context().Done():
			return false
		}
	}
	return false
}

// respond returns an answer that is to be passed on, or hands the connections to a tunnel.
func (x *exchange) respond(claim registry.Claim, resp *http.Response) (*http.Response, error) {
	x.affinity.handleResponse(x.req, x.binding, claim, resp)
	if canHijack(x.req, resp) {
		return nil, x.hijack(x.req, resp, claim)
	}
	if _, ok := resp.Header["Content-Type"]; !ok && x.body != nil {
		downstream.SuppressContentType(x.req, resp.Header)
	}
	return resp, nil
}

const (
	// maxRetries is how often a request is sent again after it was sent and not answered.
	maxRetries = 4
	// retryBackoffStep is how much longer each further resend waits than the one before: where several containers die at a
	// time, or one that nobody has told of, the next attempt may meet the same end.
	retryBackoffStep = 20 * time.Millisecond
	// maxCrashes is how many endpoints may end, without having been told to stop, while they have the request.
	maxCrashes = 2
	// stopEventTimeout is how long the news that a container was told to stop may take to arrive.
	stopEventTimeout = 100 * time.Millisecond
	// statusStopEventTimeout is the same for an answer of 502, 503 or 504, which is most often what it seems to be. The Engine tells of
	// a signal within 10 ms.
	statusStopEventTimeout = 20 * time.Millisecond
	// stopEventPollInterval is how often it is looked for.
	stopEventPollInterval = 5 * time.Millisecond
)

// retryOrFail decides what follows on an attempt that failed: nil to make another one, or the answer.
func (x *exchange) retryOrFail(claim registry.Claim, err error) error {
	e := claim.Endpoint()
	switch kind := x.classify(err); kind {
	case clientFault:
		return x.handleClientFault(err)
	case edgeExhausted:
		return x.waitForResources(e, err)
	case dialFailed:
		if time.Since(x.startedAt) >= x.service.Hold() {
			return x.fail(e, err)
		}
		claim.ReportDialError(err.Error())
	case endpointTerminating:
	case badResponse, invalidRequest:
		return x.fail(e, err)
	case noResponse:
		x.unansweredBy = append(x.unansweredBy, e)
		if !x.isReplayable() || x.retries == maxRetries || x.canBeIntentional(err) && e.IsReady() {
			return x.fail(e, err)
		}
		if x.countCrashes() >= maxCrashes {
			setPlaceholder(x.req, "edge.request.repeatable", "false")
			return x.fail(e, err)
		}
		if isReusedConn(err) && len(x.unansweredBy) == 1 {
			break // it may have been closed because it was idle
		}
		if err := x.awaitRetryBudget(e, err); err != nil {
			return err
		}
		x.retries++
	}
	x.pickOptions.Avoid = append(x.pickOptions.Avoid, e)
	if c := x.log.Check(zap.DebugLevel, "trying another endpoint"); c != nil {
		c.Write(zap.String("service", x.Service), zap.String("address", e.Address()), zap.Error(err))
	}
	return nil
}

// isReusedConn reports whether an attempt failed on a kept connection.
func isReusedConn(err error) bool {
	_, kept := errors.AsType[*upstreamconn.ReusedConnError](err)
	return kept
}

// countCrashes returns how many endpoints have ended with the request without having been told to stop, so that the request may be why.
func (x *exchange) countCrashes() int {
	for began := time.Now(); ; {
		deaths := 0
		for _, e := range x.unansweredBy {
			if !e.IsStopExpected() {
				deaths++
			}
		}
		if deaths < maxCrashes || time.Since(began) >= stopEventTimeout {
			return deaths
		}
		select {
		case <-time.After(stopEventPollInterval):
		case <-x.req.Context().Done():
			return deaths
		}
	}
}

// canBeIntentional reports whether a request that was sent and got no answer may have met nothing but what the application does
// with such requests: takes its time, or closes the connection that was to be upgraded. As long as the endpoint serves, it
// is not blamed, and the request not repeated.
func (x *exchange) canBeIntentional(err error) bool {
	return errors.Is(err, errResponseTimeout) || x.req.Header.Get("Upgrade") != ""
}

// awaitRetryBudget waits a little, and until the retry budget lets a request that was sent, and failed with err, be sent again. It
// returns the answer if it may not.
func (x *exchange) awaitRetryBudget(e *registry.Endpoint, err error) error {
	select {
	case <-time.After(time.Duration(x.retries) * retryBackoffStep):
	case <-x.req.Context().Done():
		return x.handleDisconnect()
	}
	allowed, ctxErr := x.service.AllowRetry(x.req.Context(), e)
	switch {
	case ctxErr != nil:
		return x.handleDisconnect()
	case !allowed:
		return x.fail(e, fmt.Errorf("the retry budget is spent: %w", err))
	}
	return nil
}
