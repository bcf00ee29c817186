// Package downstream handles the client's side of a request: it removes spoofable headers, detects disconnects, and sends early
// responses. It has the directive `sanitize_request`; edge_proxy does the same for requests that did not pass that directive.
package downstream

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/listeners"
)

func init() {
	caddy.RegisterModule(Sanitizer{})
	httpcaddyfile.RegisterHandlerDirective("sanitize_request", parse)
	httpcaddyfile.RegisterDirectiveOrder("sanitize_request", httpcaddyfile.Before, "tracing") // the first directive
}

// Sanitizer removes spoofable headers and trailers from a request before any other handler sees them: those that name the
// client's address, or the host, scheme or path of the request. Headers that other handlers set afterwards, such as
// `forward_auth` and `request_header`, reach the application. Without it, edge_proxy can't distinguish the two, and drops both.
//
// It responds with 425 to requests of unsafe methods in TLS 1.3 early data, which an attacker can replay (RFC 8470 section 5.2).
//
// A response of any handler that begins before the body of the request was read is sent at once.
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
// It is ordered before all other directives. The global option `edge` lists headers to keep (keep_headers).
func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // consume the name
	if h.NextArg() {
		return nil, h.Err("sanitize_request: want no arguments; to keep a header, add keep_headers to the global option edge")
	}
	if h.NextBlock(0) {
		return nil, h.Err("sanitize_request: want no block; to keep a header, add keep_headers to the global option edge")
	}
	return new(Sanitizer), nil
}

// Provision gets the edge app, and tracks the connections of the server.
func (s *Sanitizer) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	s.app = app.(*edge.App)
	Track(ctx)
	return nil
}

// ServeHTTP sanitizes the request and passes it to the next handler.
func (s *Sanitizer) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	w, done, err := Sanitize(w, r, s.app)
	if err == nil {
		err = next.ServeHTTP(w, r)
	}
	done()
	return err
}

// sanitizedVar is a variable of a request: whether it was sanitized.
const sanitizedVar = "edge.sanitized"

// errEarlyData is why a request in early data is refused.
var errEarlyData = errors.New("a request of this method in early data could be a replay: send it again after the TLS handshake")

// Sanitize removes spoofable headers and trailers from a request, unless it was sanitized before. It returns the ResponseWriter for
// the next handlers, a function to call after them, and an error if the request is refused. When the process ends, the response closes its
// connection.
func Sanitize(w http.ResponseWriter, r *http.Request, app *edge.App) (to http.ResponseWriter, done func(), err error) {
	if isSanitized, _ := caddyhttp.GetVar(r.Context(), sanitizedVar).(bool); isSanitized {
		return w, func() {}, nil
	}
	if ConnOf(r).HasUnreadBody() {
		panic(http.ErrAbortHandler) // the request is a part of the previous request's body
	}
	listeners.NoteClient(r)
	if listeners.IsLeaving() && r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close") // over HTTP/2, net/http makes a GOAWAY of it
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
	isTrusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	removeSpoofable(r.Header, isTrusted, app)
	removeSpoofable(r.Trailer, false, app)
	for _, name := range forbiddenTrailers {
		delete(r.Trailer, name)
	}
	return w, done, nil
}

// forbiddenTrailers are fields that must not be trailers (RFC 9110 section 6.5.1). Over HTTP/3, clients can announce them.
var forbiddenTrailers = []string{"Content-Length", "Transfer-Encoding", "Trailer"}

// isSafe reports whether a method only reads (RFC 9110 section 9.2.1).
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Sanitizer)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sanitizer)(nil)
)
