// Package proxy is the directive `edge_proxy`: Caddy's reverse_proxy with a transport that finds an endpoint of a
// service for each request, waits for one if there is none, and goes on to another if nothing could be sent.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/link"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/edge"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport sends each request to an endpoint of a service. It asks neither Docker nor DNS: the edge app knows.
//
// A request whose connection could not be made goes on to another endpoint, or waits for one, whatever its method.
// One that was sent and not answered is sent again only if its method is idempotent (RFC 9110 section 9.2.2) and its
// body is small enough to have been kept (64 KiB); otherwise what became of it is unknown, and the answer is 502.
//
// It sets the placeholders `{edge.endpoint.id}` and `{edge.endpoint.address}`, and for the routes that handle its errors
// `{edge.service.down}`: for how long the service has had no ready endpoint ("3 minutes"), or nothing if that is not why.
type Transport struct {
	// The service, such as `bigcapital-server:3000`: the name of a Compose service or container, and a port.
	Service string `json:"service"`

	edge.ServiceConfig

	// How long a connect may take. Default: 3s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// How long the answer may take to begin after the request was sent. Default: no limit.
	ResponseTimeout caddy.Duration `json:"response_timeout,omitempty"`

	// How long a WebSocket, or what else an upgrade over HTTP/1.1 makes of a request, may go without a byte in either
	// direction. Default: no limit.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// What keeps a client's requests on one endpoint: `socketio` the sessions of socket.io, `cookie` a cookie that names
	// the endpoint, also where a session is not known. Default: nothing does.
	Affinity []string `json:"affinity,omitempty"`

	app      *edge.App
	service  *registry.Service
	affinity *affinity
	log      *zap.Logger

	complained atomic.Int64 // when it was last said in the log that the service is unknown, in Unix seconds
}

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.edge",
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision gets the service from the edge app.
func (t *Transport) Provision(ctx caddy.Context) error {
	if t.DialTimeout < 0 || t.ResponseTimeout < 0 || t.IdleTimeout < 0 {
		return errors.New("dial_timeout, response_timeout and idle_timeout can't be negative")
	}
	if t.DialTimeout == 0 {
		t.DialTimeout = caddy.Duration(link.DefaultDialTimeout)
	}
	t.log = ctx.Logger()
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	t.app = app.(*edge.App)
	if t.service, err = t.app.Service(t.Service, t.ServiceConfig); err != nil {
		return err
	}
	return t.provisionAffinity()
}

func (t *Transport) provisionAffinity() error {
	if err := checkAffinity(t.Affinity); err != nil || len(t.Affinity) == 0 {
		return err
	}
	t.affinity = &affinity{service: t.Service, settled: t.app.Settled}
	if slices.Contains(t.Affinity, affinitySocketIO) {
		t.affinity.sessions, t.affinity.strays = t.app.Sessions()
	}
	if slices.Contains(t.Affinity, affinityCookie) {
		t.app.WantAffinityKey()
		t.affinity.cookies = newCookies(t.service, t.app.AffinityKey)
	}
	return nil
}

// RequestHeaderOps has reverse_proxy set `X-Real-IP` to the client's address, after it has dropped what the client's
// Connection header names and before the configuration's own `header_up`.
func (*Transport) RequestHeaderOps() *headers.HeaderOps {
	return &headers.HeaderOps{Set: http.Header{"X-Real-Ip": []string{"{http.vars." + caddyhttp.ClientIPVarKey + "}"}}}
}

const (
	// maxResends is how often an idempotent request is sent again after it was sent and not answered.
	maxResends = 4
	// resendPause is how much longer each further resend waits than the one before: where several containers die at a
	// time, or one that nobody has told of, the next attempt may meet the same end.
	resendPause = 20 * time.Millisecond
)

// RoundTrip acquires an endpoint, sends, and releases it when the answer's body is closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	closed := t.closure(req)
	if closed != nil && !closed.Hold {
		return nil, shut(closed)
	}
	payload, err := takePayload(req)
	if err != nil {
		return nil, err
	}
	defer payload.done()
	began := time.Now()
	if closed != nil {
		if err := t.waitOut(req, closed, began); err != nil {
			return nil, err
		}
	}
	bond := t.affinity.of(req)
	want := registry.Want{At: began, Session: bond.session, Prefer: bond.prefer, Upgrade: req.Header.Get("Upgrade") != ""}
	for resends := 0; ; {
		claim, err := t.acquire(req, want, began)
		if err != nil {
			return nil, err
		}
		e := claim.Endpoint()
		resp, err := t.send(req, payload, claim, resends > 0)
		if err == nil {
			t.affinity.answered(req, bond, claim, resp)
			if takesOver(req, resp) {
				return nil, t.takeOver(req, resp, claim)
			}
			return resp, nil
		}
		claim.Release()
		if ctxErr := req.Context().Err(); ctxErr != nil {
			return nil, ctxErr // the client left: nobody's fault
		}
		dial, refused := errors.AsType[*link.DialError](err)
		switch {
		case refused && time.Since(began) < t.service.Hold():
			claim.Refused(dial.Error())
		case refused || !payload.again(req) || resends == maxResends || mayBeMeant(req, err) && e.Serves():
			return nil, t.failed(req, e, err)
		default:
			if err := t.mayResend(req, e, resends, err); err != nil {
				return nil, err
			}
			resends++
		}
		want.Avoid, want.At = append(want.Avoid, e), time.Time{}
		if c := t.log.Check(zap.DebugLevel, "trying another endpoint"); c != nil {
			c.Write(zap.String("service", t.Service), zap.String("address", e.Address()), zap.Error(err))
		}
	}
}

// mayBeMeant reports whether a request that was sent and got no answer may have met nothing but what the application does
// with such requests: takes its time, or closes the connection that was to be upgraded. As long as the endpoint serves, it
// is not blamed, and the request not repeated.
func mayBeMeant(req *http.Request, err error) bool {
	return errors.Is(err, errLate) || req.Header.Get("Upgrade") != ""
}

// mayResend waits a little, and until the retry budget lets a request that was sent, and failed with err, be sent again. It returns the
// answer if it may not.
func (t *Transport) mayResend(req *http.Request, e *registry.Endpoint, resends int, err error) error {
	select {
	case <-time.After(time.Duration(resends) * resendPause):
	case <-req.Context().Done():
		return req.Context().Err()
	}
	allowed, ctxErr := t.service.Retry(req.Context(), e)
	switch {
	case ctxErr != nil:
		return ctxErr
	case !allowed:
		return t.failed(req, e, fmt.Errorf("the retry budget is spent: %w", err))
	}
	return nil
}

// send makes one attempt on a claimed endpoint. The claim is released when the answer's body is closed, unless the
// answer is one to take over.
func (t *Transport) send(req *http.Request, p *payload, claim registry.Claim, again bool) (*http.Response, error) {
	e := claim.Endpoint()
	setPlaceholder(req, "edge.endpoint.id", e.ID())
	setPlaceholder(req, "edge.endpoint.address", e.Address())
	ctx, cancel := context.WithCancelCause(link.WithDialTimeout(req.Context(), time.Duration(t.DialTimeout)))
	if again {
		ctx = link.Afresh(ctx)
	}
	late := newDeadline(time.Duration(t.ResponseTimeout), cancel)
	resp, err := e.Link().(*link.Link).Send(p.attach(req.WithContext(ctx), late))
	late.stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errLate) {
			err = errLate
		}
		if blames(req, err) {
			claim.Badly(err.Error())
		}
		cancel(nil)
		return nil, err
	}
	judge(claim, resp.StatusCode)
	if takesOver(req, resp) {
		cancel(nil)
		return resp, nil
	}
	resp.Body = newBody(resp.Body, func() {
		cancel(nil)
		claim.Release()
	})
	return resp, nil
}

func setPlaceholder(req *http.Request, name, value string) {
	if repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(name, value)
	}
}

// judge tells the registry what an answer says of the endpoint that gave it.
func judge(claim registry.Claim, status int) {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		claim.Badly("status " + strconv.Itoa(status))
	default:
		claim.Well()
	}
}

// blames reports whether an attempt that got no answer speaks against the endpoint.
func blames(req *http.Request, err error) bool {
	_, unsent := errors.AsType[*link.DialError](err) // which takes it out of rotation anyway
	return !unsent && !ofClient(err) && req.Context().Err() == nil && req.Header.Get("Upgrade") == ""
}

// ofClient reports whether an attempt failed by the client's doing: its body is too large, or was cut short.
func ofClient(err error) bool {
	_, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok
}

// refuse turns what Acquire says into an answer.
func (t *Transport) refuse(req *http.Request, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	setPlaceholder(req, "edge.service.down", downFor(err, t.service))
	t.service.Lose(registry.Refused)
	t.complain(err)
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// downFor says for how long a service has had no ready endpoint, when that is why a request is refused.
func downFor(err error, s *registry.Service) string {
	if !errors.Is(err, registry.ErrDown) && !errors.Is(err, registry.ErrUnknown) {
		return ""
	}
	down := time.Since(s.Status().Since)
	switch {
	case down < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(down.Seconds()))
	case down < 3*time.Hour:
		return fmt.Sprintf("%d minutes", int(down.Minutes()))
	}
	return fmt.Sprintf("%d hours", int(down.Hours()))
}

// complain says in the log why requests are refused, now and then: what is wrong for one is wrong for all.
func (t *Transport) complain(err error) {
	const every = 10
	now, last := time.Now().Unix(), t.complained.Load()
	if now-last >= every && t.complained.CompareAndSwap(last, now) {
		t.log.Error("requests are refused", zap.String("service", t.Service), zap.String("reason", t.app.Explain(err)))
	}
}

// failed turns the error of a last attempt into an answer, and says in the log when nobody knows what became of the
// request.
func (t *Transport) failed(req *http.Request, e *registry.Endpoint, err error) error {
	if ofClient(err) {
		return err
	}
	status := http.StatusBadGateway
	if errors.Is(err, errLate) {
		status = http.StatusGatewayTimeout
	}
	_, unsent := errors.AsType[*link.DialError](err)
	outcome := registry.Unknown
	if unsent {
		outcome = registry.Unsent
	} else if idempotent(req) {
		outcome = registry.Unanswered
	}
	t.service.Lose(outcome)
	setPlaceholder(req, "edge.service.down", "")
	if c := t.log.Check(zap.WarnLevel, "a request was not answered"); c != nil {
		c.Write(zap.String("service", t.Service), zap.String("method", req.Method), zap.String("uri", req.URL.Path),
			zap.String("address", e.Address()), zap.Stringer("outcome", outcome), zap.Error(err))
	}
	return caddyhttp.Error(status, fmt.Errorf("%s: %s %s at %s: outcome %s: %w",
		t.Service, req.Method, req.URL.Path, e.Address(), outcome, err))
}

// Interface guards
var (
	_ caddy.Provisioner = (*Transport)(nil)
	_ http.RoundTripper = (*Transport)(nil)

	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
)
