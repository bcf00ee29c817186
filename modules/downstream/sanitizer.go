// Package downstream is the client's side of a request: what it may claim to be, whether it is still there, and answers that come
// before its body has. It has the directive `sanitize_request`; edge_proxy does the same for requests that did not pass that.
package downstream

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

func init() {
	caddy.RegisterModule(Sanitizer{})
	httpcaddyfile.RegisterHandlerDirective("sanitize_request", parse)
	httpcaddyfile.RegisterDirectiveOrder("sanitize_request", httpcaddyfile.Before, "tracing") // which is the first one
}

// Sanitizer removes from a request what its client may not claim, before any other handler sees it: headers and trailers that say
// where it comes from, or which host, scheme or path it asks for. What other handlers set afterwards, such as `forward_auth` and
// `request_header`, reaches the application. Without it, edge_proxy can't tell the two apart, and drops both.
//
// Requests of unsafe methods in TLS 1.3 early data, which can be replayed, are answered with 425 (RFC 8470 section 5.2).
//
// Answers that are given before a request's body has been read arrive at once, whoever gives them.
type Sanitizer struct {
	app *edge.App
}

// CaddyModule returns the Caddy module information.
func (Sanitizer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sanitize_request", New: func() caddy.Module { return new(Sanitizer) }}
}

// parse reads the directive. Syntax:
//
//	sanitize_request [<matcher>]
//
// It comes before all other directives. Headers that are to pass are named in the global option `edge` (keep_headers).
func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume the name
	if h.NextArg() {
		return nil, h.Err("sanitize_request: no arguments; headers that are to pass are named in the global option edge, as keep_headers")
	}
	if h.NextBlock(0) {
		return nil, h.Err("sanitize_request: no block; headers that are to pass are named in the global option edge, as keep_headers")
	}
	return new(Sanitizer), nil
}

// Provision gets the edge app, and has the server's connections tracked.
func (s *Sanitizer) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	s.app = app.(*edge.App)
	Track(ctx)
	return nil
}

// ServeHTTP passes the request on without what its client may not claim.
func (s *Sanitizer) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	w, done, err := Sanitize(w, r, s.app)
	if err == nil {
		err = next.ServeHTTP(w, r)
	}
	done()
	return err
}

// sanitizedVar is the variable of a request that has been sanitized.
const sanitizedVar = "edge.sanitized"

// errEarlyData is why a request in early data is not carried out.
var errEarlyData = errors.New("this method is not safe to be replayed: send it again when the TLS handshake is complete")

// Sanitize removes what the client of a request may not claim, unless that has been done. It returns the ResponseWriter to
// use from now on, what to call when the handlers that follow are done, and an error if that is the answer.
func Sanitize(w http.ResponseWriter, r *http.Request, app *edge.App) (to http.ResponseWriter, done func(), err error) {
	if done, _ := caddyhttp.GetVar(r.Context(), sanitizedVar).(bool); done {
		return w, func() {}, nil
	}
	if ConnOf(r).HasUnreadBody() {
		panic(http.ErrAbortHandler) // it is what a client has put into a body
	}
	early := newEarlyResponseWriter(w, r, app)
	if early == nil {
		done = func() {}
	} else {
		w, done = early, func() { early.finish(r) }
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete && !isSafe(r.Method) {
		return w, done, caddyhttp.Error(http.StatusTooEarly, errEarlyData)
	}
	caddyhttp.SetVar(r.Context(), sanitizedVar, true)
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	removeSpoofable(r.Header, trusted, app)
	removeSpoofable(r.Trailer, false, app)
	for _, name := range forbiddenTrailers {
		delete(r.Trailer, name)
	}
	return w, done, nil
}

// forbiddenTrailers are fields that can't be trailers (RFC 9110 section 6.5.1). HTTP/3 lets clients announce them all the same.
var forbiddenTrailers = []string{"Content-Length", "Transfer-Encoding", "Trailer"}

// isSafe reports whether a method only reads (RFC 9110 section 9.2.1).
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// removeSpoofable deletes claims from headers or trailers. The three X-Forwarded headers that reverse_proxy itself replaces, or extends for
// a trusted proxy, are left to it in their proper spelling.
func removeSpoofable(h http.Header, trusted bool, app *edge.App) {
	for name := range h {
		kind, claims := Spoofable(name)
		if !claims || app.KeepsHeader(normalizeName(name)) {
			continue
		}
		if trusted && IsXForwarded(name) {
			continue
		}
		delete(h, name)
		app.CountSpoofedHeader(kind.String())
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Sanitizer)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sanitizer)(nil)
)
