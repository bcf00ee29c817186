// Package errorpages is the directive `error_pages`: the answers that are the edge's own, for people and for programs.
package errorpages

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler answers a request that has failed: a browser gets a small page that says what happened and what to do, and one
// that is worth waiting for loads itself again; a program gets `application/problem+json` (RFC 9457). Both carry the request's
// ID, which is in the access log too, as `uuid`.
//
// It belongs into routes that handle errors. A request that has not failed is passed on.
type Handler struct{}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.error_pages", New: func() caddy.Module { return new(Handler) }}
}

// ServeHTTP answers with the status of the error.
func (Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !failed {
		return next.ServeHTTP(w, r)
	}
	return ServeError(w, r, err)
}

// ServeError answers a request that has failed with err, as `error_pages` does.
func ServeError(w http.ResponseWriter, r *http.Request, err error) error {
	f := newFailure(err, w.Header(), r)
	var body bytes.Buffer
	h := w.Header()
	deleteStaleHeaders(h)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", f.RequestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	if mayHaveLargeBody(r) {
		h.Set("Connection", "close")
	}
	if prefersHTML(r.Header) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		if f.RefreshSeconds > 0 {
			h.Set("Refresh", strconv.Itoa(f.RefreshSeconds))
		}
		err = f.writePage(&body)
	} else {
		h.Set("Content-Type", "application/problem+json")
		err = f.writeProblem(&body)
	}
	if err != nil {
		return err
	}
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(f.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(body.Bytes())
	return err
}

// mayHaveLargeBody reports whether the client may be about to send more than is worth waiting for. On a connection of HTTP/1.1
// that is to be used again, net/http answers only after it has read 256 KiB of what nobody wants, which a client that waits
// for the answer first, as after `Expect: 100-continue`, never sends.
func mayHaveLargeBody(r *http.Request) bool {
	const much = 256 << 10
	return r.ProtoMajor == 1 && (r.ContentLength < 0 || r.ContentLength > much || r.ContentLength > 0 && r.Header.Get("Expect") != "")
}

// deleteStaleHeaders deletes what was said of the answer that failed.
func deleteStaleHeaders(h http.Header) {
	for _, name := range []string{"Accept-Ranges", "Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Refresh", "Trailer"} {
		h.Del(name)
	}
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = Handler{}
