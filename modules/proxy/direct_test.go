package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// seen is what one of the two sides gets of the other.
type seen struct {
	Line    string // method and URI, or status
	Host    string
	Header  []string
	Body    string
	Trailer []string
	Interim []string
}

// describeHeader returns the headers, without those that differ from one response to the next: reverse_proxy flushes an empty response before or after quic-go's
// server has counted its bytes.
func describeHeader(header http.Header) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name != "Date" && name != "X-Request-Id" && (name != "Content-Length" || header.Get(name) != "0") {
			lines = append(lines, fmt.Sprintf("%s: %q", name, header[name]))
		}
	}
	return lines
}

// newTellingBackend returns a backend that responds as the request's path says, and sends back what it got.
func newTellingBackend(t *testing.T) *backend {
	t.Helper()
	return newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := seen{Line: r.Method + " " + r.RequestURI, Host: r.Host, Header: describeHeader(r.Header), Body: string(body), Trailer: describeHeader(r.Trailer)}
		got.Line = strings.NewReplacer("/direct", "", "/stock", "").Replace(got.Line)
		text, err := json.Marshal(got)
		if err != nil {
			t.Error(err)
		}
		h := w.Header()
		switch r.URL.Path {
		case "/plain":
			h["Content-Type"] = nil
			h.Set("Server", "app/1")
			h["Via"] = []string{"1.0 inner"}
			h["X-Two"] = []string{"1", "2"}
			h.Set("Connection", "X-Private")
			h.Set("X-Private", "secret")
			h.Set("Keep-Alive", "timeout=5")
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
			return
		case "/streamed":
			_ = http.NewResponseController(w).Flush()
		case "/events":
			h.Set("Content-Type", "text/event-stream")
		case "/hints":
			h.Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			h.Del("Link")
		case "/trailers":
			h.Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			h.Set("X-Sum", "7")
			h.Set(http.TrailerPrefix+"X-Late", "8")
			return
		case "/error":
			w.WriteHeader(http.StatusTeapot)
		case "/large":
			text = []byte(strings.Repeat("x", 200_000))
		}
		_, _ = w.Write(text)
	}).start(t)
}

// TestADirectRequestIsLikeOneOfReverseProxy: the application and the client see the same, whether edge_proxy sends the request itself or has reverse_proxy
// do it (which verbose_logs makes it do).
func TestADirectRequestIsLikeOneOfReverseProxy(t *testing.T) {
	a := newTellingBackend(t)
	const options = `
		header_up X-Set {http.request.method}
		header_up +X-Added more
		header_up -X-Removed
		header_up X-Replaced old new
		header_up Host {http.reverse_proxy.upstream.hostport}
		header_down X-Down "{http.reverse_proxy.upstream.address} {http.reverse_proxy.upstream.host} {http.reverse_proxy.upstream.port} {http.reverse_proxy.status_code} {http.reverse_proxy.status_text} {http.reverse_proxy.header.X-Two} {http.reverse_proxy.upstream.requests} {http.reverse_proxy.upstream.max_requests} {http.reverse_proxy.upstream.fails}"
		header_down -X-Two
		header_down +Vary X
`
	route := func(path, extra string) string {
		return "handle_path " + path + "/plainly/* {\n edge_proxy api:80 {\n" + extra + "\n}\n}\n" +
			"handle_path " + path + "/configured/* {\n header X-Site here\n edge_proxy api:80 {\n" + options + extra + "\n}\n}\n" +
			"handle_path " + path + "/flushed/* {\n edge_proxy api:80 {\n flush_interval -1\n" + extra + "\n}\n}\n"
	}
	url := serveTLS(t, a.address, route("/direct", "")+route("/stock", "verbose_logs"))
	headers := map[string]http.Header{
		"none": {},
		"many": {
			"X-Removed": {"1"}, "X-Replaced": {"an old value"}, "X-Added": {"1"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Te": {"trailers, deflate"},
			"Via": {"1.1 other"}, "User-Agent": {"test"}, "X-Forwarded-For": {"1.2.3.4"}, "Accept-Encoding": {"identity"}, "Cookie": {"a=b", "c=d"},
		},
	}
	paths := []string{"/plain", "/empty", "/unchanged", "/streamed", "/events", "/hints", "/trailers", "/error", "/large", "/a%2Fb?c=d&e=%20"}
	for version, transport := range transportPerVersion(t) {
		for _, config := range []string{"/plainly", "/configured", "/flushed"} {
			for _, path := range paths {
				for name, header := range headers {
					if version == "HTTP/3.0" && path == "/hints" {
						continue // quic-go's client does not report them
					}
					for _, body := range []string{"", "short", "chunked", "trailers"} {
						direct := observe(t, transport, url+"/direct"+config+path, header, body)
						stock := observe(t, transport, url+"/stock"+config+path, header, body)
						if direct != stock {
							t.Errorf("%s %s%s, headers: %s, body: %q\ndirect %s\nstock  %s", version, config, path, name, body, direct, stock)
						}
					}
				}
			}
		}
	}
}

// observe sends a request, and returns what the client gets.
func observe(t *testing.T, transport http.RoundTripper, url string, header http.Header, body string) string {
	t.Helper()
	var reader io.Reader
	method := http.MethodGet
	switch body {
	case "":
	case "short":
		method, reader = http.MethodPost, strings.NewReader("hello")
	default:
		method, reader = http.MethodPut, io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo"))
	}
	var got seen
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		got.Interim = append(got.Interim, fmt.Sprint(code, describeHeader(http.Header(header))))
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	if body == "trailers" {
		req.Trailer = http.Header{"X-Sent": {"9"}}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		text = append(text, "; error: "+err.Error()...)
	}
	if resp.ProtoMajor == 3 && body == "chunked" {
		// The edge sends a length if the whole body arrived within peekTimeout, in both ways of sending, so time decides.
		text = bytes.Replace(text, []byte(`"Content-Length: [\"5\"]",`), nil, 1)
	}
	got.Line, got.Header, got.Body, got.Trailer = resp.Status, describeHeader(resp.Header), string(text), describeHeader(resp.Trailer)
	out, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
