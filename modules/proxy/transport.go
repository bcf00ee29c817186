// Package proxy is the directive `edge_proxy`: Caddy's reverse_proxy with a transport that picks an endpoint of a service for
// each request, holds the request while none is ready, and tries another endpoint if that is safe.
package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/service"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// Transport sends each request to an endpoint of a service. It asks neither Docker nor DNS: the edge app knows the endpoints.
//
// If the connection can't be made, the request goes to another endpoint, or waits for one, whatever its method. A request that
// was sent and not answered is sent again only if its method is idempotent (RFC 9110 section 9.2.2) and the edge has its body,
// which may have 64 KiB. Otherwise its outcome is unknown, and the response is 502. The response is also 502 if two containers
// ended during the request without having been told to stop: the request may crash them.
//
// It sets the placeholders `{edge.endpoint.id}` and `{edge.endpoint.address}`, and in error routes `{edge.service.down}`: for
// how long the service has had no ready endpoint ("3 minutes"), or "" if the request failed for another reason.
type Transport struct {
	// The service, such as `bigcapital-server:3000`: the name of a Compose service or container, and a port. Several names with
	// commas between them are one pool. `shop/web:8080` is the service `web` of the Compose project `shop`.
	Service string `json:"service"`

	service.Config

	// How long a connect may take. Default: 3s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// How long the response may take to begin after the request was sent. Default: no limit.
	ResponseTimeout caddy.Duration `json:"response_timeout,omitempty"`

	// How long a WebSocket, or another connection that was upgraded over HTTP/1.1, may stay open without a byte in either
	// direction. Default: no limit.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// Which requests use connections that were used before: `all`, also those that can't be sent twice, such as POST. Only for applications that
	// close idle connections with close(), for both directions at once. Default: those that can be sent again.
	Reuse string `json:"reuse,omitempty"`

	// What keeps the requests of a client on one endpoint: `socketio`, its socket.io session; `cookie`, a cookie that names the
	// endpoint, also if the session is unknown. Default: nothing.
	Affinity []string `json:"affinity,omitempty"`

	app      *edge.App
	service  *registry.Service
	traffic  *traffic.Service
	affinity *affinity.Binder // nil: no affinity
	log      *zap.Logger

	lastRefusalLog atomic.Int64 // when a refusal was last logged, in Unix seconds
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
	if err := checkReuse(t.Reuse); err != nil {
		return err
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
	t.Service = t.service.Name()
	t.traffic = t.app.Traffic(t.service)
	return t.provisionAffinity()
}

// The values of Reuse.
const (
	reuseAll        = "all"
	reuseRepeatable = "repeatable"
)

func checkReuse(reuse string) error {
	switch reuse {
	case "", reuseAll, reuseRepeatable:
		return nil
	}
	return fmt.Errorf("reuse %q: want repeatable or all", reuse)
}

func (t *Transport) provisionAffinity() error {
	if err := affinity.CheckKinds(t.Affinity); err != nil || len(t.Affinity) == 0 {
		return err
	}
	o := affinity.Options{Service: t.service, WaitForSync: t.app.WaitForSync}
	if slices.Contains(t.Affinity, affinity.SocketIO) {
		o.Sessions, o.Adopted = t.app.Sessions()
	}
	if slices.Contains(t.Affinity, affinity.Cookie) {
		t.app.PreloadAffinityKey()
		o.Key = t.app.AffinityKey
	}
	t.affinity = affinity.New(o)
	return nil
}

// RequestHeaderOps makes reverse_proxy set `X-Real-IP` to the client's address. reverse_proxy does so after it has removed the
// headers that the client's Connection header names, and before the configuration's own `header_up`.
func (*Transport) RequestHeaderOps() *headers.HeaderOps {
	return &headers.HeaderOps{Set: http.Header{"X-Real-Ip": []string{"{http.vars." + caddyhttp.ClientIPVarKey + "}"}}}
}

// RoundTrip sends a request to an endpoint, and to another one if that is safe. Closing the body of the response releases the
// endpoint.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := t.newExchange(req)
	resp, err := x.run()
	x.end(resp, err)
	return resp, err
}

// run makes attempts until one has a response, or no other one is allowed.
func (x *exchange) run() (*http.Response, error) {
	for {
		if err := x.awaitMaintenanceEnd(); err != nil {
			return nil, err
		}
		x.bind()
		claim, err := x.acquire()
		if err != nil {
			return nil, err
		}
		if x.maintenanceWindow(x.req) != nil { // it began while the request was held
			claim.Release()
			continue
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

// Interface guards
var (
	_ caddy.Provisioner = (*Transport)(nil)
	_ http.RoundTripper = (*Transport)(nil)

	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
)
