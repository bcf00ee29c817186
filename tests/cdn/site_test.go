package cdn

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{Dir: "tests/cdn", Requires: []harness.Requirement{harness.Node}})
}

const (
	page = "<!doctype html><title>Accounting</title><link rel=icon href=/assets/icon-77c0de.svg><script src=/assets/index-4f8a21.js></script>"
)

// asset is large enough to be compressed, and calls the API as an application does.
var asset = "fetch('/api/accounts').then((r) => r.json()).then((a) => { document.title = 'Accounting of ' + a.address })\n" + strings.Repeat("console.log('the application')\n", 100)

// application stands in for BigCapital: its web application answers with its page if a file is missing, as the nginx of its image does.
type application struct {
	mu        sync.Mutex
	seen      []*http.Request
	abandoned atomic.Int32 // requests whose client left before the answer
	uploads   atomic.Int32 // bodies that came to their end
	cut       atomic.Int32 // bodies that did not
	sockets   atomic.Int32 // WebSockets that have ended
}

// ServeHTTP implements http.Handler.
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Cf-Ray") != "" { // not a probe of the edge
		a.mu.Lock()
		a.seen = append(a.seen, r.Clone(context.WithoutCancel(r.Context())))
		a.mu.Unlock()
	}
	switch {
	case r.URL.Path == "/assets/index-4f8a21.js":
		w.Header().Set("Content-Type", "application/javascript")
		w.Header().Set("ETag", `"4f8a21"`)
		if r.Header.Get("If-None-Match") == `"4f8a21"` || r.Header.Get("If-None-Match") == `W/"4f8a21"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, asset)
	case r.URL.Path == "/assets/icon-77c0de.svg":
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	case strings.HasPrefix(r.URL.Path, "/assets/fails-"):
		status, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/assets/fails-"), ".js"))
		w.Header().Set("Content-Type", "application/javascript")
		w.WriteHeader(status)
	case strings.HasPrefix(r.URL.Path, "/api/fails"):
		http.Error(w, "it fails", http.StatusInternalServerError)
	case r.URL.Path == "/api/slow":
		select {
		case <-time.After(20 * time.Second):
		case <-r.Context().Done():
			a.abandoned.Add(1)
		}
	case strings.HasPrefix(r.URL.Path, "/socket"):
		echo(w, r)
		a.sockets.Add(1)
	case r.URL.Path == "/api/attachments":
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			a.cut.Add(1)
			return
		}
		a.uploads.Add(1)
	case strings.HasPrefix(r.URL.Path, "/api/"):
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"user":%q,"address":%q}`, r.Header.Get("Authorization"), r.Header.Get("X-Real-Ip"))
	default:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	}
}

// echo sends back what comes over a WebSocket.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// last returns the last request that the application got, and how many these were.
func (a *application) last() (*http.Request, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return nil, 0
	}
	return a.seen[len(a.seen)-1], len(a.seen)
}

// site is the shipped configuration with the application, behind a CDN.
type site struct {
	app         *application
	cdn         *cdn
	visitors    *httptest.Server
	http, https string // ports of the edge
	admin       string // its admin address
}

const host = "accounting.localhost"

// start runs the edge behind a CDN, and waits until it serves visitors.
func start(t *testing.T) *site {
	t.Helper()
	s := new(site)
	edge, certificate := s.startEdge(t, "localhost")
	s.cdn = newCDN("https", s.https, []tls.Certificate{certificate})
	s.visitors = s.cdn.start()
	t.Cleanup(s.visitors.Close)
	harness.Eventually(t, "the edge serves through the CDN", func() bool {
		if edge.HasEnded() {
			t.Fatal(edge.Output())
		}
		resp, err := s.request("GET", "/", nil)
		return err == nil && resp.status == http.StatusOK
	})
	return s
}

// startEdge runs the edge with the shipped configuration and more variables, in front of the application. It returns the certificate that it demands.
func (s *site) startEdge(t *testing.T, domain string, env ...string) (*harness.Process, tls.Certificate) {
	t.Helper()
	s.app, s.http, s.https = new(application), testport.Port(t), testport.Port(t)
	server, webapp, docs := httptest.NewServer(s.app), httptest.NewServer(s.app), httptest.NewServer(s.app)
	t.Cleanup(docs.Close)
	t.Cleanup(server.Close)
	t.Cleanup(webapp.Close)
	now, dir := time.Now(), t.TempDir()
	a, err := authority.New("CDN", now)
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Sign("cdn", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(client, client)
	if err != nil {
		t.Fatal(err)
	}
	authorityFile := filepath.Join(dir, "authority.pem")
	if err := os.WriteFile(authorityFile, a.CertificatePEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("../../Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(shipped)
	for old, replacement := range map[string]string{
		"\tbigcapital\n":                    "\tbigcapital {\n\t\tserver " + server.Listener.Addr().String() + "\n\t\twebapp " + webapp.Listener.Addr().String() + "\n\t}\n",
		"trust_pool file cdn/authority.pem": "trust_pool file " + authorityFile,
		"edge_proxy corteza-docs:80 {":      "edge_proxy " + docs.Listener.Addr().String() + " {",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the shipped Caddyfile has no %q", old)
		}
		text = strings.Replace(text, old, replacement, 1)
	}
	s.admin = "unix/" + filepath.Join(dir, "admin.sock")
	text += "\nopen.localhost {\n\trespond open\n}\n"
	return harness.StartEdge(t, text, append(env,
		"DOMAIN="+domain, "HTTP_PORT="+s.http, "HTTPS_PORT="+s.https, "PUBLIC_HTTPS_PORT="+s.https, "EDGE_ADMIN="+s.admin,
		"TRUSTED_PROXIES=cloudflare "+address, "ORIGIN_PULLS=import origin_pulls")...), certificate
}

type answer struct {
	status int
	header http.Header
	body   string
}

// request sends a request of a visitor to the CDN.
func (s *site) request(method, target string, body io.Reader, header ...string) (*answer, error) {
	return send(s.visitors.Client(), method, s.visitors.URL+target, body, header...)
}

func send(client *http.Client, method, address string, body io.Reader, header ...string) (*answer, error) {
	req, err := http.NewRequest(method, address, body)
	if err != nil {
		return nil, err
	}
	req.Host = host
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(text)}, err
}

func (s *site) mustRequest(t *testing.T, method, target string, header ...string) *answer {
	t.Helper()
	a, err := s.request(method, target, nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
