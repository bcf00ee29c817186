// Package proxy is the directive `edge_proxy`: Caddy's reverse_proxy with a transport that finds an endpoint of a
// service for each request, waits for one if there is none, and goes on to another if nothing could be sent.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/service"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport sends each request to an endpoint of a service. It asks neither Docker nor DNS: the edge app knows.
//
// A request whose connection could not be made goes on to another endpoint, or waits for one, whatever its method.
// One that was sent and not answered is sent again only if its method is idempotent (RFC 9110 section 9.2.2) and its
// body is small enough to have been kept (64 KiB); otherwise what became of it is unknown, and the answer is 502. So it is if
// two containers that nobody told to stop have ended with it: it may be what ends them.
//
// It sets the placeholders `{edge.endpoint.id}` and `{edge.endpoint.address}`, and for the routes that handle its errors
// `{edge.service.down}`: for how long the service has had no ready endpoint ("3 minutes"), or nothing if that is not why.
type Transport struct {
	// The service, such as `bigcapital-server:3000`: the name of a Compose service or container, and a port.
	Service string `json:"service"`

	service.Config

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

	lastRefusalLog atomic.Int64 // when it was last said in the log that the service is unknown, in Unix seconds
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
		t.DialTimeout = caddy.Duration(upstreamconn.DefaultDialTimeout)
	}
	t.log = ctx.Logger()
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	t.app = app.(*edge.App)
	if t.service, err = t.app.Service(t.Service, t.Config); err != nil {
		return err
	}
	return t.provisionAffinity()
}

func (t *Transport) provisionAffinity() error {
	if err := checkAffinity(t.Affinity); err != nil || len(t.Affinity) == 0 {
		return err
	}
	t.affinity = &affinity{service: t.Service, waitForSync: t.app.WaitForSync}
	if slices.Contains(t.Affinity, affinitySocketIO) {
		t.affinity.sessions, t.affinity.adopted = t.app.Sessions()
	}
	if slices.Contains(t.Affinity, affinityCookie) {
		t.app.PreloadAffinityKey()
		t.affinity.cookies = newCookies(t.service, t.app.AffinityKey)
	}
	return nil
}

// RequestHeaderOps has reverse_proxy set `X-Real-IP` to the client's address, after it has dropped what the client's
// Connection header names and before the configuration's own `header_up`.
func (*Transport) RequestHeaderOps() *headers.HeaderOps {
	return &headers.HeaderOps{Set: http.Header{"X-Real-Ip": []string{"{http.vars." + caddyhttp.ClientIPVarKey + "}"}}}
}

// RoundTrip sends a request to an endpoint, to another one where that is right, and releases the endpoint when the answer's body is
// closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := t.newExchange(req)
	if err := x.applyMaintenance(); err != nil {
		return nil, err
	}
	x.bind()
	for {
		claim, err := x.acquire()
		if err != nil {
			return nil, err
		}
		resp, err := x.send(claim)
		if err == nil {
			return x.respond(claim, resp)
		}
		claim.Release()
		if err := x.retryOrFail(claim, err); err != nil {
			return nil, err
		}
	}
}

func setPlaceholder(req *http.Request, name, value string) {
	if repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(name, value)
	}
}

// refuse turns what Acquire says into an answer.
func (x *exchange) refuse(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return x.handleDisconnect()
	}
	setPlaceholder(x.req, "edge.service.down", downtimeText(err, x.service))
	x.service.CountLost(registry.OutcomeRefused)
	x.logRefusal(err)
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// downtimeText says for how long a service has had no ready endpoint, when that is why a request is refused.
func downtimeText(err error, s *registry.Service) string {
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

// logRefusal says in the log why requests are refused, now and then: what is wrong for one is wrong for all.
func (t *Transport) logRefusal(err error) {
	const every = 10
	now, last := time.Now().Unix(), t.lastRefusalLog.Load()
	if now-last >= every && t.lastRefusalLog.CompareAndSwap(last, now) {
		t.log.Error("requests are refused", zap.String("service", t.Service), zap.String("reason", t.app.Explain(err)))
	}
}

// Interface guards
var (
	_ caddy.Provisioner = (*Transport)(nil)
	_ http.RoundTripper = (*Transport)(nil)

	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
)
