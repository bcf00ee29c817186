package errorpages_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/modules/errorpages"
)

const (
	requestID     = "0f3c9a52-6a7e-4a3e-9c1b-5f6d1f0f8a11"
	browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
)

// failedRequest is a request that has failed.
type failedRequest struct {
	method, accept string
	err            error
	downFor        string            // {edge.service.down}
	responseHeader map[string]string // set by earlier handlers
	requestHeader  map[string]string
}

// serve returns the handler's response to the request.
func (f failedRequest) serve(t *testing.T) *httptest.ResponseRecorder {
	t.Helper()
	repl := caddy.NewEmptyReplacer()
	repl.Set("http.request.uuid", requestID)
	repl.Set("edge.service.down", f.downFor)
	ctx := context.WithValue(t.Context(), caddy.ReplacerCtxKey, repl)
	if f.err != nil {
		ctx = context.WithValue(ctx, caddyhttp.ErrorCtxKey, f.err)
	}
	if f.method == "" {
		f.method = http.MethodGet
	}
	r := httptest.NewRequest(f.method, "https://a.example/<script>?q=<b>", nil).WithContext(ctx)
	r.Header.Set("Accept", f.accept)
	for name, value := range f.requestHeader {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	for name, value := range f.responseHeader {
		w.Header().Set(name, value)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot)
		return nil
	})
	if err := (errorpages.Handler{}).ServeHTTP(w, r, next); err != nil {
		t.Fatal(err)
	}
	return w
}

// httpError is an error with a status, as Caddy's handlers return it.
func httpError(status int) error { return caddyhttp.Error(status, errors.New("<i>inner</i> reason")) }

func TestResponsesHaveRequestIDAndAreNotCached(t *testing.T) {
	for _, accept := range []string{browserAccept, "application/json", ""} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			w := failedRequest{method: method, accept: accept, err: httpError(404), responseHeader: map[string]string{"Etag": `"x"`, "Content-Encoding": "gzip"}}.serve(t)
			h := w.Header()
			if w.Code != 404 || h.Get("X-Request-Id") != requestID || h.Get("Cache-Control") != "no-store" || h.Get("Vary") != "Accept" {
				t.Errorf("%s, Accept %q: %d %v", method, accept, w.Code, h)
			}
			if h.Get("Etag") != "" || h.Get("Content-Encoding") != "" {
				t.Errorf("the response keeps headers of the one that failed: %v", h)
			}
			if empty := w.Body.Len() == 0; empty != (method == http.MethodHead) || h.Get("Content-Length") == "0" {
				t.Errorf("%s: got a body of %d bytes, Content-Length %s", method, w.Body.Len(), h.Get("Content-Length"))
			}
		}
	}
}

func TestRequestWithoutErrorIsPassedOn(t *testing.T) {
	if w := (failedRequest{accept: browserAccept}).serve(t); w.Code != http.StatusTeapot || w.Header().Get("Cache-Control") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestErrorWithoutStatusIsServedAs500(t *testing.T) {
	for _, err := range []error{errors.New("anything"), caddyhttp.HandlerError{Err: errors.New("anything")}} {
		if w := (failedRequest{accept: browserAccept, err: err}).serve(t); w.Code != 500 || strings.Contains(w.Body.String(), "anything") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestAcceptSelectsPageOrProblem(t *testing.T) {
	for accept, page := range map[string]bool{
		browserAccept:                       true,
		"text/html":                         true,
		"TEXT/HTML ; charset=utf-8":         true,
		"application/xhtml+xml":             true,
		"application/json;q=0.5, text/html": true,
		"text/html;q=0.5, application/json": false,
		"text/html;q=0":                     false,
		"text/html;q=nan, */*":              false,
		"text/html;q=2":                     false,
		"text/*":                            false,
		"*/*":                               false,
		"":                                  false,
		"application/json, text/plain, */*": false,
		"image/avif,image/webp,*/*;q=0.8":   false,
		"application/problem+json":          false,
		",;,;;q=,":                          false,
	} {
		w := failedRequest{accept: accept, err: httpError(404)}.serve(t)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != page {
			t.Errorf("Accept %q gets %s", accept, w.Header().Get("Content-Type"))
		}
	}
	w := failedRequest{accept: browserAccept, err: httpError(404), requestHeader: map[string]string{"X-Requested-With": "XMLHttpRequest"}}.serve(t)
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("a script that accepts anything gets %s", got)
	}
}

func TestProblemHasMembersOfRFC9457(t *testing.T) {
	w := failedRequest{accept: "*/*", err: httpError(502)}.serve(t)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	detail, _ := got["detail"].(string)
	if got["type"] != "about:blank" || got["title"] != "Bad Gateway" || got["status"] != 502.0 || detail == "" ||
		got["instance"] != "urn:uuid:"+requestID || got["request_id"] != requestID {
		t.Errorf("got %s", w.Body)
	}
	if strings.Contains(w.Body.String(), "inner") || w.Header().Get("Refresh") != "" {
		t.Errorf("got %v %s", w.Header(), w.Body)
	}
}

func TestOnlyPagesOfTemporaryErrorsRefresh(t *testing.T) {
	maintenanceError := caddyhttp.Error(503, &maintenance.Error{Service: "api:80"})
	for _, c := range []struct {
		err     error
		method  string
		refresh string
	}{
		{httpError(502), "GET", "5"},
		{httpError(503), "GET", "5"},
		{httpError(504), "HEAD", "5"},
		{maintenanceError, "GET", "30"},
		{httpError(503), "POST", ""}, // the refresh would be a GET
		{maintenanceError, "PUT", ""},
		{httpError(500), "GET", ""},
		{httpError(429), "GET", ""},
		{httpError(404), "GET", ""},
	} {
		w := failedRequest{method: c.method, accept: browserAccept, err: c.err, responseHeader: map[string]string{"Refresh": "1; url=https://elsewhere.example"}}.serve(t)
		if got := w.Header().Get("Refresh"); got != c.refresh {
			t.Errorf("%s, %v: Refresh %q, want %q", c.method, c.err, got, c.refresh)
		}
		isMentioned := strings.Contains(w.Body.String(), "every "+c.refresh+" seconds")
		if c.method != "HEAD" && isMentioned != (c.refresh != "") {
			t.Errorf("%s, %v: the page mentions the refresh: %t", c.method, c.err, isMentioned)
		}
	}
}

func TestPageWarnsThatSentDataMayBeLost(t *testing.T) {
	maintenanceError := caddyhttp.Error(503, &maintenance.Error{Service: "api:80"})
	for _, c := range []struct {
		method                          string
		err                             error
		deliveryUncertain, notForwarded bool
	}{
		{"POST", httpError(502), true, false},
		{"POST", httpError(504), true, false},
		{"DELETE", httpError(502), true, false},
		{"PUT", httpError(503), true, false}, // the edge may have sent it, and sends a PUT again
		{"POST", httpError(503), false, true},
		{"PATCH", maintenanceError, false, true},
		{"GET", httpError(502), false, false},
		{"POST", httpError(413), false, false},
	} {
		text := failedRequest{method: c.method, accept: browserAccept, err: c.err}.serve(t).Body.String()
		if strings.Contains(text, "Before you send it again") != c.deliveryUncertain || strings.Contains(text, "was not passed on") != c.notForwarded {
			t.Errorf("%s, %v: %s", c.method, c.err, text)
		}
	}
}

func TestPageSaysHowLongApplicationHasBeenDown(t *testing.T) {
	w := failedRequest{accept: browserAccept, err: httpError(503), downFor: "3 minutes"}.serve(t)
	if !strings.Contains(w.Body.String(), "has been down for 3 minutes") {
		t.Error(w.Body)
	}
	if w = (failedRequest{accept: browserAccept, err: httpError(502), downFor: "3 minutes"}).serve(t); strings.Contains(w.Body.String(), "3 minutes") {
		t.Error(w.Body)
	}
}

func TestRateLimitPageSaysWhenToRetry(t *testing.T) {
	for header, want := range map[string]string{
		"1":      "Try again in 1 second.",
		"90":     "Try again in 90 seconds.",
		"91":     "Try again in 2 minutes.",
		"5400":   "Try again in 90 minutes.",
		"5401":   "Try again in 2 hours.",
		"999999": "Try again in 278 hours.",
		"":       "Wait a minute",
		"0":      "Wait a minute",
		"-5":     "Wait a minute",
		"soon":   "Wait a minute",
		time.Now().Add(45 * time.Minute).UTC().Format(http.TimeFormat): "Try again in 45 minutes.",
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       "Wait a minute",
		"9223372036854775807":  "Wait a minute",
		"99999999999999999999": "Wait a minute",
	} {
		w := failedRequest{accept: browserAccept, err: httpError(429), responseHeader: map[string]string{"Retry-After": header}}.serve(t)
		if !strings.Contains(w.Body.String(), want) || w.Header().Get("Retry-After") != header {
			t.Errorf("Retry-After %q: want %q in\n%s", header, want, w.Body)
		}
	}
}

func TestMaintenanceMessageIsEscapedOnThePage(t *testing.T) {
	err := caddyhttp.Error(503, &maintenance.Error{Service: "api:80", Message: "Back at <b>noon</b> & \"then\"\n<script>alert(1)</script>", RetryAfter: 5 * time.Minute})
	w := failedRequest{accept: browserAccept, err: err}.serve(t)
	for _, want := range []string{"<title>Maintenance (503)</title>", "<h1>Maintenance</h1>", "Back at &lt;b&gt;noon&lt;/b&gt; &amp; ", "It may take about 5 minutes."} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("got no %q in\n%s", want, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), "<script") {
		t.Error(w.Body)
	}
	w = failedRequest{accept: "*/*", err: err}.serve(t)
	var problem struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || !strings.HasPrefix(problem.Detail, "Back at <b>noon") {
		t.Errorf("%v %s", err, w.Body)
	}
	w = failedRequest{accept: browserAccept, err: caddyhttp.Error(503, &maintenance.Error{})}.serve(t)
	if !strings.Contains(w.Body.String(), "being worked on") {
		t.Errorf("without a message: %s", w.Body)
	}
}

func BenchmarkPage(b *testing.B) {
	repl := caddy.NewEmptyReplacer()
	repl.Set("http.request.uuid", requestID)
	ctx := context.WithValue(b.Context(), caddy.ReplacerCtxKey, repl)
	ctx = context.WithValue(ctx, caddyhttp.ErrorCtxKey, httpError(429))
	r := httptest.NewRequest(http.MethodGet, "https://a.example/", nil).WithContext(ctx)
	r.Header.Set("Accept", browserAccept)
	b.ReportAllocs()
	for b.Loop() {
		if err := (errorpages.Handler{}).ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestErrorIsSentBeforeRequestBodyIsRead uses a real connection, on which net/http would read the request body first.
func TestErrorIsSentBeforeRequestBodyIsRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = struct{ io.ReadCloser }{r.Body} // as Caddy does
		ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewEmptyReplacer())
		ctx = context.WithValue(ctx, caddyhttp.ErrorCtxKey, error(caddyhttp.Error(http.StatusRequestEntityTooLarge, nil)))
		if err := (errorpages.Handler{}).ServeHTTP(w, r.WithContext(ctx), nil); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		head  string
		close bool
	}{
		{"Content-Length: 1000000\r\n", true},
		{"Content-Length: 10\r\nExpect: 100-continue\r\n", true},
		{"Transfer-Encoding: chunked\r\n", true},
		{"Content-Length: 0\r\n", false},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a.example\r\n"+c.head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", c.head, err)
		}
		if resp.StatusCode != http.StatusRequestEntityTooLarge || resp.Close != c.close {
			t.Errorf("%q: %s, close %t", c.head, resp.Status, resp.Close)
		}
		resp.Body.Close()
		conn.Close()
	}
}
