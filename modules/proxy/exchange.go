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

	"github.com/theworklabs/edge/internal/link"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/downstream"
)

// exchange is one request on its way to an answer: which endpoints it has been sent to, and what came of that.
type exchange struct {
	*Transport
	req   *http.Request
	body  *replayBody
	began time.Time
	bond  bond
	want  registry.PickOptions

	resends int                  // attempts after one that was sent and not answered
	cut     []*registry.Endpoint // those that it was sent to and not answered by
	waited  int                  // times that it waited for the edge's own resources
}

func (t *Transport) newExchange(req *http.Request) *exchange {
	return &exchange{Transport: t, req: req, body: newReplayBody(req), began: time.Now()}
}

// passMaintenance refuses or holds the request while an operator has the service in maintenance.
func (x *exchange) passMaintenance() error {
	if closed := x.closure(x.req); closed != nil {
		if err := x.waitOut(closed); err != nil {
			return err
		}
	}
	return nil
}

// bind finds out which endpoints the request may go to.
func (x *exchange) bind() {
	x.bond = x.affinity.of(x.req)
	x.want = registry.PickOptions{
		ArrivedAt: x.began, Session: x.bond.session, Prefer: x.bond.prefer,
		Upgrade: x.req.Header.Get("Upgrade") != "", Replayable: isIdempotent(x.req) && x.body.isSmall(),
	}
}

// canRepeat reports whether the request may be sent once more after it was sent and not answered.
func (x *exchange) canRepeat() bool { return isIdempotent(x.req) && x.body.canResend() }

// acquire claims an endpoint, unless the service's maintenance has begun while the request waited for one.
func (x *exchange) acquire() (registry.Claim, error) {
	for {
		claim, ok := x.service.TryAcquire(x.want)
		x.want.ArrivedAt = time.Time{} // it is counted
		if !ok {
			var err error
			if claim, err = x.wait(); err != nil {
				return registry.Claim{}, err
			}
		}
		closed := x.closure(x.req)
		if closed == nil {
			return claim, nil
		}
		claim.Release()
		if err := x.waitOut(closed); err != nil {
			return registry.Claim{}, err
		}
	}
}

// wait holds the request until there is an endpoint for it.
func (x *exchange) wait() (registry.Claim, error) {
	ctx, stop := downstream.Watch(x.req)
	defer stop()
	x.want.Client = x.client()
	claim, err := x.service.Acquire(ctx, x.want)
	if err != nil {
		return registry.Claim{}, x.refuse(err)
	}
	return claim, nil
}

// client returns whom the request counts for; the zero Addr is nobody in particular.
func (x *exchange) client() netip.Addr {
	peer, _ := netip.ParseAddrPort(x.req.RemoteAddr) // or the zero one
	trusted, _ := caddyhttp.GetVar(x.req.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return x.app.ClientKey(clientOf(x.req), peer.Addr(), trusted)
}

// send makes one attempt on a claimed endpoint. The claim is released when the answer's body is closed, unless the answer is one
// to take over.
func (x *exchange) send(claim registry.Claim) (*http.Response, error) {
	e := claim.Endpoint()
	setPlaceholder(x.req, "edge.endpoint.id", e.ID())
	setPlaceholder(x.req, "edge.endpoint.address", e.Address())
	ctx, cancel := context.WithCancelCause(link.WithDialTimeout(x.req.Context(), time.Duration(x.DialTimeout)))
	if len(x.cut) > 0 {
		ctx = link.Afresh(ctx)
	}
	late := newDeadline(time.Duration(x.ResponseTimeout), cancel)
	resp, err := e.Conns().(*link.Link).Send(x.body.attach(x.req.WithContext(ctx), late))
	inTime := late.stop()
	if err == nil && inTime {
		err = x.check(claim, resp)
	}
	if err != nil || !inTime {
		if err == nil {
			_ = resp.Body.Close() // its connection is being closed
		}
		cancel(nil)
		if !inTime {
			err = errLate
		}
		return nil, x.blame(claim, err)
	}
	if takesOver(x.req, resp) {
		cancel(nil)
		return resp, nil
	}
	resp.Body = newBody(resp.Body, func() {
		cancel(nil)
		claim.Release()
	})
	return resp, nil
}

// Answers that are not passed on.
var (
	errUnasked  = errors.New("the endpoint switched protocols without being asked to")
	errStopping = errors.New("the endpoint was told to stop, and answers that it can't serve")
)

// check looks at an answer's head, tells the registry what it says of the endpoint, and returns why it is not one to pass on. The
// body is closed then.
func (x *exchange) check(claim registry.Claim, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		if !asksFor(x.req, resp.Header.Get("Upgrade")) {
			_ = resp.Body.Close() // what is left of it is of no use
			return errUnasked
		}
		claim.ReportSuccess()
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		claim.ReportFailure("status "+strconv.Itoa(resp.StatusCode), x.client())
		if x.canRepeat() && x.isStopping(claim) && x.body.detach() {
			_ = resp.Body.Close() // another one is asked
			return errStopping
		}
	default:
		claim.ReportSuccess()
	}
	return nil
}

// isStopping reports whether a container that answers that it can't has been told to stop, of which the news may be on its way.
func (x *exchange) isStopping(claim registry.Claim) bool {
	for range int(statusNotice / noticePoll) {
		if claim.Endpoint().IsStopExpected() {
			return true
		}
		select {
		case <-time.After(noticePoll):
		case <-x.req.Context().Done():
			return false
		}
	}
	return false
}

// answer returns an answer that is to be passed on, or hands the connections to a tunnel.
func (x *exchange) answer(claim registry.Claim, resp *http.Response) (*http.Response, error) {
	x.affinity.answered(x.req, x.bond, claim, resp)
	if takesOver(x.req, resp) {
		return nil, x.takeOver(x.req, resp, claim)
	}
	if _, ok := resp.Header["Content-Type"]; !ok && x.body != nil {
		downstream.KeepUntyped(x.req, resp.Header)
	}
	return resp, nil
}

const (
	// maxResends is how often a request is sent again after it was sent and not answered.
	maxResends = 4
	// resendPause is how much longer each further resend waits than the one before: where several containers die at a
	// time, or one that nobody has told of, the next attempt may meet the same end.
	resendPause = 20 * time.Millisecond
	// mostDeaths is how many endpoints may end, without having been told to stop, while they have the request.
	mostDeaths = 2
	// stopNotice is how long the news that a container was told to stop may take to arrive.
	stopNotice = 100 * time.Millisecond
	// statusNotice is the same for an answer of 502, 503 or 504, which is most often what it seems to be. The Engine tells of
	// a signal within 10 ms.
	statusNotice = 20 * time.Millisecond
	// noticePoll is how often it is looked for.
	noticePoll = 5 * time.Millisecond
)

// mayTryAgain decides what follows on an attempt that failed: nil to make another one, or the answer.
func (x *exchange) mayTryAgain(claim registry.Claim, err error) error {
	e := claim.Endpoint()
	switch kind := x.classify(err); kind {
	case clientsFault:
		return x.clientFailed(err)
	case ownFault:
		return x.waitForResources(e, err)
	case unsent:
		if time.Since(x.began) >= x.service.Hold() {
			return x.failed(e, err)
		}
		claim.ReportDialError(err.Error())
	case stopping:
	case answered, unsendable:
		return x.failed(e, err)
	case cutOff:
		x.cut = append(x.cut, e)
		if !x.canRepeat() || x.resends == maxResends || x.mayBeMeant(err) && e.IsReady() {
			return x.failed(e, err)
		}
		if x.deaths() >= mostDeaths {
			setPlaceholder(x.req, "edge.request.repeatable", "false")
			return x.failed(e, err)
		}
		if isKept(err) && len(x.cut) == 1 {
			break // it may have been closed because it was idle
		}
		if err := x.mayResend(e, err); err != nil {
			return err
		}
		x.resends++
	}
	x.want.Avoid = append(x.want.Avoid, e)
	if c := x.log.Check(zap.DebugLevel, "trying another endpoint"); c != nil {
		c.Write(zap.String("service", x.Service), zap.String("address", e.Address()), zap.Error(err))
	}
	return nil
}

// isKept reports whether an attempt failed on a kept connection.
func isKept(err error) bool {
	_, kept := errors.AsType[*link.KeptConnError](err)
	return kept
}

// deaths returns how many endpoints have ended with the request without having been told to stop, so that the request may be why.
func (x *exchange) deaths() int {
	for began := time.Now(); ; {
		deaths := 0
		for _, e := range x.cut {
			if !e.IsStopExpected() {
				deaths++
			}
		}
		if deaths < mostDeaths || time.Since(began) >= stopNotice {
			return deaths
		}
		select {
		case <-time.After(noticePoll):
		case <-x.req.Context().Done():
			return deaths
		}
	}
}

// mayBeMeant reports whether a request that was sent and got no answer may have met nothing but what the application does
// with such requests: takes its time, or closes the connection that was to be upgraded. As long as the endpoint serves, it
// is not blamed, and the request not repeated.
func (x *exchange) mayBeMeant(err error) bool {
	return errors.Is(err, errLate) || x.req.Header.Get("Upgrade") != ""
}

// mayResend waits a little, and until the retry budget lets a request that was sent, and failed with err, be sent again. It
// returns the answer if it may not.
func (x *exchange) mayResend(e *registry.Endpoint, err error) error {
	select {
	case <-time.After(time.Duration(x.resends) * resendPause):
	case <-x.req.Context().Done():
		return x.clientLeft()
	}
	allowed, ctxErr := x.service.AllowRetry(x.req.Context(), e)
	switch {
	case ctxErr != nil:
		return x.clientLeft()
	case !allowed:
		return x.failed(e, fmt.Errorf("the retry budget is spent: %w", err))
	}
	return nil
}
