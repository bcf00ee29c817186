package proxy

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/modules/downstream"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/errorpages"
	"github.com/theworklabs/edge/modules/listeners"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler comes before reverse_proxy in an `edge_proxy` route. It removes spoofable headers from the request, and adds
// `Retry-After` to the response when the service can't take requests. (The transport sets `X-Real-IP` to the client's
// address.)
//
// Clients that are trusted proxies (the server's `trusted_proxies`) keep the `X-Forwarded-*` headers that reverse_proxy
// extends.
type Handler struct {
	app *edge.App
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
	h.app = app.(*edge.App)
	downstream.Track(ctx)
	listeners.UseGate(ctx)
	return nil
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
	err := next.ServeHTTP(w, withHijacker(w, r))
	if err == nil {
		return nil
	}
	return completeError(w, r, err)
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
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
