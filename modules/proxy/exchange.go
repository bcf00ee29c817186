package proxy

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/downstream"
	"github.com/theworklabs/edge/modules/logs"
)

// exchange is one request until it has a response, with its attempts.
type exchange struct {
	*Transport
	req         *http.Request
	body        *replayBody
	startedAt   time.Time
	isBound     bool
	binding     affinity.Binding
	pickOptions registry.PickOptions

	endpoint *registry.Endpoint // of the last attempt
	isSecond bool               // another exchange of the same request has provided the placeholders, as with `handle_response`

	interim       func(code int, header http.Header) error // sends a 1xx response; nil: the request's trace does
	span          trace.Span                               // of the request; nil if its trace is not recorded
	requestID     string
	uuid          string // requestID, if it was made here
	times         phaseTimes
	logged        logs.RequestFields // for the access log
	isLost        bool               // it is counted as lost
	retry         retryPolicy
	resourceWaits int // how often the request has waited for the edge's own resources
}

func (t *Transport) newExchange(req *http.Request) *exchange {
	x := &exchange{Transport: t, req: req, body: newReplayBody(req, t.Reuse == reuseAll || upstreamconn.IsIdempotent(req.Method)), startedAt: time.Now(), span: recordingSpan(req)}
	x.setRequestID()
	return x
}

// bind looks up once which endpoints the request may go to.
func (x *exchange) bind() {
	if x.isBound {
		return
	}
	x.isBound = true
	x.binding = x.affinity.Bind(x.req)
	x.req = x.binding.Request(x.req)
	x.pickOptions = registry.PickOptions{
		ArrivedAt: x.startedAt, Session: x.binding.SessionEndpoint, Prefer: x.binding.CookieEndpoint,
		Upgrade: x.req.Header.Get("Upgrade") != "", Replayable: x.isIdempotent() && x.body.isSmall(),
	}
}

// acquire picks and claims an endpoint. It holds the request while no endpoint is ready.
func (x *exchange) acquire() (registry.Claim, error) {
	claim, ok := x.service.TryAcquire(x.pickOptions)
	x.pickOptions.ArrivedAt = time.Time{} // the registry counts a request once
	if ok {
		return claim, nil
	}
	x.retry.isImmediate = false
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	endHold := x.startHold()
	x.pickOptions.Client = x.client()
	claim, err := x.service.Acquire(ctx, x.pickOptions)
	endHold() // before a refusal is logged, which says for how long
	if err != nil {
		return registry.Claim{}, x.refuse(err)
	}
	return claim, nil
}

// client returns the client key of the request; the zero Addr if it counts for no client.
func (x *exchange) client() netip.Addr {
	peer, _ := netip.ParseAddrPort(x.req.RemoteAddr) // or the zero one
	isTrusted, _ := caddyhttp.GetVar(x.req.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return x.app.ClientKey(clientAddr(x.req), peer.Addr(), isTrusted)
}

// send makes one attempt on a claimed endpoint. If it returns a response, closing the body releases the claim, unless the
// response is an upgrade that the transport hijacks.
//
// What comes before and after the wait for the response is in functions of its own: their variables need no stack during the
// wait (BenchmarkWaiting).
func (x *exchange) send(claim registry.Claim) (*http.Response, error) {
	a := x.newAttempt(claim)
	resp, err := upstreamconn.Of(claim.Endpoint()).Send(&a.request)
	return a.finish(resp, err)
}

// attempt is one attempt of an exchange on a claimed endpoint.
type attempt struct {
	*exchange
	claim    registry.Claim
	request  upstreamconn.Attempt
	deadline *deadline  // of the response
	span     trace.Span // nil if the trace is not recorded
}

// newAttempt prepares an attempt, and starts its deadline.
func (x *exchange) newAttempt(claim registry.Claim) *attempt {
	x.setEndpoint(claim.Endpoint())
	ctx, timeout := withDeadline(x.req.Context(), time.Duration(x.ResponseTimeout))
	a := &attempt{exchange: x, claim: claim, deadline: timeout, request: upstreamconn.Attempt{
		Request: x.req, Context: ctx, Interim: x.interim, DialTimeout: time.Duration(x.DialTimeout),
		NewConn: x.retry.needsNewConn, ReuseAll: x.Reuse == reuseAll,
	}}
	x.body.attach(&a.request, timeout)
	a.startSpan()
	timeout.start()
	return a
}

// finish ends the attempt with its response, or with the error.
func (a *attempt) finish(resp *http.Response, err error) (*http.Response, error) {
	inTime := a.deadline.stop()
	a.times.add(a.request.Timing)
	if err == nil && inTime {
		err = a.checkResponse(a.claim, resp)
	}
	if err != nil || !inTime {
		if err == nil {
			_ = resp.Body.Close() // its connection is canceled
		}
		a.deadline.release()
		if !inTime {
			err = errResponseTimeout
		}
		a.endSpan(err)
		return nil, a.reportFailure(a.claim, err)
	}
	a.noteResponse(resp)
	firstByte := a.request.Timing.FirstByte
	if a.request.Body != nil {
		firstByte = 0 // a client that uploads slowly is not the container's fault
	}
	a.claim.CountResponse(resp.StatusCode >= http.StatusInternalServerError, firstByte)
	if canHijack(a.exchange.req, resp) {
		a.deadline.release()
		a.endSpan(nil)
		return resp, nil
	}
	// The end of a WebSocket is none of a response. The configuration may change the headers later.
	isStream := resp.StatusCode == http.StatusSwitchingProtocols || isEventStream(resp.Header)
	resp.Body = newResponseBody(resp.Body, func(err error) {
		if err != nil && !isStream {
			a.noteIncomplete(a.claim.Endpoint(), err)
		}
		a.deadline.release()
		a.claim.Release()
		a.endSpan(err)
		a.count(resp.StatusCode)
	})
	return resp, nil
}

// setEndpoint makes an endpoint the one that the placeholders name.
func (x *exchange) setEndpoint(e *registry.Endpoint) {
	isFirst := x.endpoint == nil
	x.endpoint = e
	repl, ok := x.req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	if isFirst {
		_, x.isSecond = repl.Get(endpointID)
		if !x.isSecond {
			repl.Map(x.placeholder) // needs less memory than two values
		}
	}
	if x.isSecond {
		repl.Set(endpointID, e.ID())
		repl.Set(endpointAddress, e.Address())
	}
}

// Names of placeholders.
const (
	endpointID      = "edge.endpoint.id"
	endpointAddress = "edge.endpoint.address"
)

// placeholder returns the value of a placeholder.
func (x *exchange) placeholder(name string) (value any, ok bool) {
	switch name {
	case endpointID:
		return x.endpoint.ID(), true
	case endpointAddress:
		return x.endpoint.Address(), true
	}
	return nil, false
}

func setPlaceholder(req *http.Request, name, value string) {
	if repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(name, value)
	}
}

// Reasons why a response is not forwarded.
var (
	errUnrequestedUpgrade = errors.New("the endpoint switched to a protocol that the request did not ask for")
	errTerminating        = errors.New("the endpoint is stopping and can't serve the request")
)

// checkResponse reports the result of an attempt to the registry. It returns an error, and closes the body, if the response
// must not be forwarded.
func (x *exchange) checkResponse(claim registry.Claim, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		if !hasRequestedUpgrade(x.req, resp.Header.Get("Upgrade")) {
			_ = resp.Body.Close() // the response fails anyway
			return errUnrequestedUpgrade
		}
		claim.ReportSuccess()
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		claim.ReportFailure("status "+strconv.Itoa(resp.StatusCode), x.client())
		if x.isReplayable() && x.awaitTerminating(claim) && x.body.detach() {
			_ = resp.Body.Close() // another endpoint gets the request
			return errTerminating
		}
	default:
		claim.ReportSuccess()
	}
	return nil
}

// awaitTerminating reports whether the container of an endpoint that can't serve was told to stop. The event from Docker may
// arrive after the response.
func (x *exchange) awaitTerminating(claim registry.Claim) bool {
	for range int(stopEventTimeout / stopEventPollInterval) {
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

// respond returns the response to forward, or hands the connections of an upgrade to a tunnel.
func (x *exchange) respond(claim registry.Claim, resp *http.Response) (*http.Response, error) {
	x.affinity.HandleResponse(x.req, x.binding, claim.Endpoint().ID(), resp)
	if canHijack(x.req, resp) {
		return nil, x.hijack(x.req, resp, claim)
	}
	if _, ok := resp.Header["Content-Type"]; !ok && x.body != nil {
		downstream.SuppressContentType(x.req, resp.Header)
	}
	return resp, nil
}
