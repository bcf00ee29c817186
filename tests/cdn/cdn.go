// Package cdn tests the edge behind a CDN that does what Cloudflare's documentation says of its defaults.
package cdn

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// cdn is a server for visitors. It sends what it has not stored to the edge, from an address that the edge trusts.
type cdn struct {
	origin *http.Transport // connects to the edge
	scheme string          // with which it reaches the edge: https, or http in the mode "Flexible"

	maxBody    int64         // bytes of a request; Cloudflare has 100 MB in its smaller plans
	maxSilence time.Duration // until an answer begins, and between two messages of a WebSocket; Cloudflare has 100 s for both

	mu     sync.Mutex
	stored map[string]*storedAnswer
}

// storedAnswer is an answer that visitors get without the edge.
type storedAnswer struct {
	status int
	header http.Header
	body   []byte
	until  time.Time
}

// address is where the connections of the CDN come from.
const address = "127.0.0.2"

// newCDN returns a CDN in front of an edge on loopback.
func newCDN(scheme, port string, certificates []tls.Certificate) *cdn {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &cdn{
		scheme: scheme, maxBody: 1 << 20, maxSilence: time.Second, stored: make(map[string]*storedAnswer),
		origin: &http.Transport{
			DialContext: dialTo(dialer, port),
			// The edge's certificate is its own authority's here.
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
			DisableCompression: true, DisableKeepAlives: true,
		},
	}
}

// dialTo returns a function that connects to a port on loopback, whatever the address is.
func dialTo(dialer *net.Dialer, port string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
}

// storedExtensions are those of files that Cloudflare stores by default: developers.cloudflare.com/cache/concepts/default-cache-behavior.
var storedExtensions = strings.Fields("7z avi avif apk bin bmp bz2 class css csv doc docx dmg ejs eot eps exe flac gif gz ico iso jar jpg jpeg js mid midi mkv mp3 mp4 ogg otf pdf pict pls png ppt pptx ps rar svg svgz swf tar tif tiff ttf webm webp woff woff2 xls xlsx zip zst")

// ServeHTTP implements http.Handler.
func (c *cdn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > c.maxBody {
		http.Error(w, "413 Request Entity Too Large", http.StatusRequestEntityTooLarge)
		return
	}
	key := r.Host + r.URL.RequestURI()
	if r.Method == http.MethodGet {
		if a := c.find(key); a != nil {
			writeAnswer(w, r, a, "HIT")
			return
		}
	}
	if r.Header.Get("Upgrade") != "" {
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) { c.rewrite(p.Out, p.In) }, Transport: c.origin,
			ModifyResponse: func(resp *http.Response) error {
				if conn, ok := resp.Body.(io.ReadWriteCloser); ok {
					resp.Body = &idleConn{conn, time.AfterFunc(c.maxSilence, func() { _ = conn.Close() }), c.maxSilence}
				}
				return nil
			},
		}
		proxy.ServeHTTP(w, r)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	c.rewrite(out, r)
	if out.Body != nil {
		out.Body = http.MaxBytesReader(w, out.Body, c.maxBody) // of a body without a length
	}
	transport := c.origin.Clone()
	transport.ResponseHeaderTimeout = c.maxSilence
	resp, err := transport.RoundTrip(out)
	if err != nil {
		status := 520 // Cloudflare's, for an unknown error
		if _, isLarge := errors.AsType[*http.MaxBytesError](err); isLarge {
			status = http.StatusRequestEntityTooLarge
		} else if strings.Contains(err.Error(), "timeout awaiting response headers") {
			status = 524
		}
		http.Error(w, strconv.Itoa(status)+" "+err.Error(), status)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		http.Error(w, err.Error(), 520)
		return
	}
	a := &storedAnswer{status: resp.StatusCode, header: resp.Header, body: body}
	a.header.Del("Content-Length")
	state := "DYNAMIC"
	if r.Method == http.MethodGet && isStoredByDefault(r.URL.Path) {
		state = "BYPASS"
		if age := storageTime(resp); age > 0 {
			state = "MISS"
			a.until = time.Now().Add(age)
			c.mu.Lock()
			c.stored[key] = a
			c.mu.Unlock()
		}
	}
	writeAnswer(w, r, a, state)
}

// idleConn is a connection of a WebSocket, which the CDN closes if no message comes for too long.
type idleConn struct {
	io.ReadWriteCloser
	timer      *time.Timer
	maxSilence time.Duration
}

// Read implements io.Reader.
func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.timer.Reset(c.maxSilence)
	return n, err
}

// Write implements io.Writer.
func (c *idleConn) Write(p []byte) (int, error) {
	c.timer.Reset(c.maxSilence)
	return c.ReadWriteCloser.Write(p)
}

// rewrite makes the request for the edge.
func (c *cdn) rewrite(out, in *http.Request) {
	client, _, _ := net.SplitHostPort(in.RemoteAddr)
	out.URL = &url.URL{Scheme: c.scheme, Host: in.Host, Path: in.URL.Path, RawPath: in.URL.RawPath, RawQuery: in.URL.RawQuery}
	out.Host = in.Host
	out.Header.Set("CF-Connecting-IP", client)
	out.Header.Set("CF-Ray", "8c0ffee0c0ffee00-FRA")
	scheme := "http"
	if in.TLS != nil {
		scheme = "https"
	}
	out.Header.Set("CF-Visitor", `{"scheme":"`+scheme+`"}`)
	out.Header.Set("CDN-Loop", "cloudflare; loops=1")
	out.Header.Set("X-Forwarded-Proto", scheme)
	if before := in.Header.Get("X-Forwarded-For"); before != "" {
		client = before + "," + client
	}
	out.Header.Set("X-Forwarded-For", client)
	out.Header.Set("Accept-Encoding", "gzip, br")
}

func (c *cdn) find(key string) *storedAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.stored[key]
	if a == nil || time.Now().After(a.until) {
		return nil
	}
	return a
}

func isStoredByDefault(name string) bool {
	return slices.Contains(storedExtensions, strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")))
}

// storageTime returns how long an answer is stored; 0 if it is not. Of several headers, that for CDNs counts (RFC 9213).
func storageTime(resp *http.Response) time.Duration {
	if resp.Header.Get("Set-Cookie") != "" {
		return 0
	}
	values := resp.Header.Values("CDN-Cache-Control")
	if len(values) == 0 {
		values = resp.Header.Values("Cache-Control")
	}
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "private", "no-store", "no-cache":
			return 0
		case "max-age", "s-maxage":
			seconds, _ := strconv.Atoi(value)
			return time.Duration(seconds) * time.Second
		}
	}
	// Without a header, by the status.
	return map[int]time.Duration{200: 2 * time.Hour, 206: 2 * time.Hour, 301: 2 * time.Hour, 302: 20 * time.Minute, 303: 20 * time.Minute, 403: time.Minute, 404: 3 * time.Minute, 410: 3 * time.Minute}[resp.StatusCode]
}

// writeAnswer sends an answer in the encoding that the visitor accepts. One that the CDN has compressed or uncompressed is not the same bytes: its ETag becomes weak.
func writeAnswer(w http.ResponseWriter, r *http.Request, a *storedAnswer, state string) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("CF-Cache-Status", state)
	body := a.body
	isCompressed, accepts := a.header.Get("Content-Encoding") == "gzip", strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	canCompress := strings.HasPrefix(a.header.Get("Content-Type"), "text/") || strings.Contains(a.header.Get("Content-Type"), "javascript")
	switch {
	case isCompressed && !accepts:
		if reader, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, _ = io.ReadAll(reader)
		}
		w.Header().Del("Content-Encoding")
		weaken(w.Header())
	case !isCompressed && accepts && canCompress && a.header.Get("Content-Encoding") == "" && !strings.Contains(a.header.Get("Cache-Control"), "no-transform"):
		var compressed bytes.Buffer
		writer := gzip.NewWriter(&compressed)
		_, _ = writer.Write(body)
		_ = writer.Close()
		body = compressed.Bytes()
		w.Header().Set("Content-Encoding", "gzip")
		weaken(w.Header())
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body)
}

func weaken(h http.Header) {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h.Set("ETag", "W/"+tag)
	}
}

// start has visitors reach the CDN.
func (c *cdn) start() *httptest.Server { return httptest.NewTLSServer(c) }
