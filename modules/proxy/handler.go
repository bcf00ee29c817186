package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/modules/downstream"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/errorpages"
	"github.com/theworklabs/edge/modules/listeners"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler proxies to a service. It removes spoofable headers from the request, sets `X-Forwarded-*` and `X-Real-IP`, and adds `Retry-After` to the
// response when the service can't take requests.
//
// Clients that are trusted proxies (the server's `trusted_proxies`) keep the `X-Forwarded-*` headers, which are extended.
//
// Without `transport`, a `reverse_proxy` with the transport `edge` must follow in the same route. It is for what only reverse_proxy can do, such as
// `handle_response`.
type Handler struct {
	// The transport `edge`, which has the service, and says how requests are sent.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Changes of the headers of requests and responses, as in `reverse_proxy`.
	Headers *headers.Handler `json:"headers,omitempty"`

	// -1: each part of a response is sent to the client at once. Default: only if the response has no length, or is a stream of events.
	FlushInterval caddy.Duration `json:"flush_interval,omitempty"`

	app           *edge.App
	log           *zap.Logger
	transport     *Transport
	fallback      *reverseproxy.Handler // for the requests that are not direct; nil: the next handler is it
	upstream      string                // the address in the placeholders of reverse_proxy
	ops           headerOps
	flushesAtOnce bool
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_proxy", New: func() caddy.Module { return new(Handler) }}
}

// Provision gets the edge app, tracks the connections of the server, and has it use the gate's sockets.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	h.app, h.log = app.(*edge.App), ctx.Logger()
	downstream.Track(ctx)
	listeners.UseGate(ctx)
	return h.provisionDirect(ctx)
}

// provisionDirect provisions the transport, and a reverse_proxy that has it, too.
func (h *Handler) provisionDirect(ctx caddy.Context) error {
	if len(h.TransportRaw) == 0 {
		return nil
	}
	if h.FlushInterval > 0 {
		return errors.New("flush_interval can only be -1 here; for another one, use reverse_proxy with the transport edge")
	}
	raw := h.TransportRaw // LoadModule drops it
	module, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return err
	}
	t, ok := module.(*Transport)
	if !ok {
		return fmt.Errorf("edge_proxy has the transport %T, and can only use edge; for others, use reverse_proxy", module)
	}
	h.transport, h.upstream, h.flushesAtOnce = t, t.dialAddress(), h.FlushInterval < 0
	fallback := &reverseproxy.Handler{TransportRaw: raw, Upstreams: t.upstreams(), Headers: h.Headers, FlushInterval: h.FlushInterval}
	if err := fallback.Provision(ctx); err != nil { // the headers, too
		return err
	}
	if h.Headers != nil {
		h.ops = headerOps{h.Headers.Request, h.Headers.Response}
	}
	h.fallback = fallback
	return nil
}

// Cleanup releases what reverse_proxy has.
func (h *Handler) Cleanup() error {
	if h.fallback == nil {
		return nil
	}
	return h.fallback.Cleanup()
}

// ServeHTTP sanitizes the request, passes it to the next handler, and completes the response if the service refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	w, done, err := downstream.Sanitize(w, r, h.app)
	if err == nil {
		err = h.serve(w, r, next)
	}
	done()
	return err
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.app.ObservePeer(r.RemoteAddr)
	if _, set := w.Header()["Content-Type"]; !set {
		w.Header()["Content-Type"] = nil // so that net/http does not guess one if the response has none
	}
	err := h.proxy(w, withHijacker(w, r), next)
	if err == nil {
		return nil
	}
	return completeError(w, r, err)
}

func (h *Handler) proxy(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch {
	case h.fallback == nil:
		return next.ServeHTTP(w, r)
	case isDirect(r):
		return h.serveDirect(w, r)
	}
	return h.fallback.ServeHTTP(w, r, next)
}

// completeError returns the error for the handlers before edge_proxy; nil if the response was sent.
func completeError(w http.ResponseWriter, r *http.Request, err error) error {
	if errors.Is(err, errHijacked) {
		return nil
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfterHeader(err))
	}
	if _, isMaintenance := errors.AsType[*maintenance.Error](err); isMaintenance && !hasErrorRoutes(r) {
		return errorpages.ServeError(w, r, err)
	}
	return err
}

// hasErrorRoutes reports whether an error route of the site matches the request. Then the site decides what visitors see.
func hasErrorRoutes(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil {
		return false
	}
	return slices.ContainsFunc(server.Errors.Routes, func(route caddyhttp.Route) bool {
		matches, err := route.MatcherSets.AnyMatchWithError(r)
		return err == nil && matches
	})
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
