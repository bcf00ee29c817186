// Package errorpages is the directive `error_pages`: the error responses of the edge itself, for people and for programs.
package errorpages

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler responds to a request that has failed. A browser gets a small HTML page that says what happened and what the visitor
// can do; the page of a temporary error refreshes itself. A program gets `application/problem+json` (RFC 9457). Both carry the
// request's ID, which the access log has as `uuid`.
//
// The handler is for routes that handle errors. It passes on a request that has not failed.
type Handler struct{}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.error_pages", New: func() caddy.Module { return new(Handler) }}
}

// ServeHTTP responds with the status of the error.
func (Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !failed {
		return next.ServeHTTP(w, r)
	}
	return ServeError(w, r, err)
}

// ServeError responds to a request that has failed with err, as `error_pages` does. It reads `Retry-After` from the response
// headers that are already set, and returns the error of writing the response.
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

// mayHaveLargeBody reports whether the edge closes the connection instead of reading the rest of the request body. net/http keeps
// an HTTP/1.1 connection open by reading up to 256 KiB of the body before it sends the response. A client that waits for the
// response first, as after `Expect: 100-continue`, never sends that body.
func mayHaveLargeBody(r *http.Request) bool {
	const large = 256 << 10
	return r.ProtoMajor == 1 && (r.ContentLength < 0 || r.ContentLength > large || r.ContentLength > 0 && r.Header.Get("Expect") != "")
}

// deleteStaleHeaders deletes the headers that describe the response that failed.
func deleteStaleHeaders(h http.Header) {
	for _, name := range []string{"Accept-Ranges", "Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Refresh", "Trailer"} {
		h.Del(name)
	}
}

// prefersHTML reports whether a person reads the response: the client accepts HTML by name (RFC 9110 section 12.5.1), as browsers
// do for pages, and gives JSON no higher weight. Scripts and programs accept anything, or JSON.
func prefersHTML(h http.Header) bool {
	var html, json float64
	for _, line := range h["Accept"] {
		for mediaRange := range strings.SplitSeq(line, ",") {
			mediaType, params, _ := strings.Cut(mediaRange, ";")
			switch strings.ToLower(strings.TrimSpace(mediaType)) {
			case "text/html", "application/xhtml+xml":
				html = max(html, quality(params))
			case "application/json", "application/problem+json":
				json = max(json, quality(params))
			}
		}
	}
	return html > 0 && html >= json && h.Get("X-Requested-With") == ""
}

// quality returns the weight among the parameters of a media range: 1 if there is none, 0 if it is invalid.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// problem is a problem details object (RFC 9457).
type problem struct {
	Type      string `json:"type"` // about:blank: the status is the type
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func (f *failure) writeProblem(w io.Writer) error {
	p := problem{Type: "about:blank", Title: f.Title, Status: f.Status, Detail: f.Detail, RequestID: f.RequestID}
	if f.RequestID != "" {
		p.Instance = "urn:uuid:" + f.RequestID
	}
	return json.NewEncoder(w).Encode(p)
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = Handler{}
