package proxy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/internal/registry"
)

// compression is when a polling server compresses its handshakes.
type compression int

const (
	neverCompress compression = iota
	compressIfAccepted
	alwaysCompress // against the request's Accept-Encoding
)

// pollingServer is an Engine.IO server that knows only the sessions that it began itself.
type pollingServer struct {
	name        string
	compression compression

	mu       sync.Mutex
	sessions map[string]bool
}

func (p *pollingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("EIO") == "" {
		fmt.Fprint(w, p.name)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sid := r.URL.Query().Get("sid")
	switch {
	case sid == "":
		sid = fmt.Sprintf("%s-%d", p.name, len(p.sessions))
		p.sessions[sid] = true
		p.handshake(w, r, sid)
	case p.sessions[sid]:
		fmt.Fprint(w, "ok ", p.name)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":1,"message":"Session ID unknown"}`)
	}
}

func (p *pollingServer) handshake(w http.ResponseWriter, r *http.Request, sid string) {
	body := fmt.Sprintf(`0{"sid":%q,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}`, sid)
	isAccepted := strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	if p.compression == neverCompress || p.compression == compressIfAccepted && !isAccepted {
		_, _ = io.WriteString(w, body)
		return
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed.Bytes())
}

// serveThreePollingServers starts three servers behind a site, and waits until they are ready.
func serveThreePollingServers(t *testing.T, directives string, c compression) (*site, []*backend) {
	t.Helper()
	var addresses []string
	var backends []*backend
	var ready []<-chan struct{}
	for _, name := range []string{"a", "b", "c"} {
		p := &pollingServer{name: name, compression: c, sessions: make(map[string]bool)}
		b := newBackend(t, p.ServeHTTP).start(t)
		addresses, backends = append(addresses, b.address), append(backends, b)
		ready = append(ready, watchState(t, b.address, registry.Ready))
	}
	s := serve(t, map[string][]string{"api:80": addresses}, directives)
	for _, isReady := range ready {
		<-isReady
	}
	return s, backends
}

// sessionOf returns the sid of a handshake's body.
func sessionOf(t *testing.T, body string) string {
	t.Helper()
	_, rest, ok := strings.Cut(body, `"sid":"`)
	sid, _, ok2 := strings.Cut(rest, `"`)
	if !ok || !ok2 {
		t.Fatalf("%q has no session", body)
	}
	return sid
}

// fetch gets a URL and returns the status, the decompressed body and the headers.
func fetch(t *testing.T, c *http.Client, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestAPollingSessionStaysOnItsServerWithoutACookie(t *testing.T) {
	for name, c := range map[string]compression{"plain": neverCompress, "gzip if accepted": compressIfAccepted} {
		t.Run(name, func(t *testing.T) {
			s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", c)
			servers := make(map[string]bool)
			for range 20 {
				_, body, _ := fetch(t, http.DefaultClient, s.url+"/socket/?EIO=4&transport=polling")
				sid := sessionOf(t, body)
				servers[sid[:1]] = true
				for range 10 {
					if status, body, h := fetch(t, http.DefaultClient, s.url+"/socket/?EIO=4&transport=polling&sid="+sid); status != http.StatusOK || h.Get("Set-Cookie") != "" {
						t.Fatalf("got %d %s with the headers %v, want 200 without Set-Cookie", status, body, h)
					}
				}
			}
			if len(servers) != 3 {
				t.Errorf("sessions began on %v, want all three servers", servers)
			}
		})
	}
}

func TestASessionOutlivesAReload(t *testing.T) {
	s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", neverCompress)
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	sid := sessionOf(t, body)
	s.load(t, "header X-Other 1\nedge_proxy api:80 {\n affinity socketio\n}")
	for range 10 {
		if status, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sid); status != http.StatusOK {
			t.Fatalf("got %d %s, want 200", status, body)
		}
	}
}

func TestASessionOfADeadServerGets400(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", neverCompress)
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	sid := sessionOf(t, body)
	backends[sid[0]-'a'].stop()
	if status, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sid); status != http.StatusBadRequest {
		t.Errorf("got %d %s, want 400 from another server", status, body)
	}
}

func TestACookieKeepsAClientOnItsServerAndIsSetOnce(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", neverCompress)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	_, server, h := fetch(t, c, s.url)
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"edge_api_80=", "Path=/", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q does not contain %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "Secure") || strings.Contains(cookie, "127.0.0.1") {
		t.Errorf("the cookie %q is Secure over plain HTTP, or has an address", cookie)
	}
	for range 20 {
		if _, got, h := fetch(t, c, s.url); got != server || h.Get("Set-Cookie") != "" {
			t.Fatalf("got server %s and cookie %q, want server %s and no cookie", got, h.Get("Set-Cookie"), server)
		}
	}
	backends[server[0]-'a'].stop()
	if status, got, h := fetch(t, c, s.url); status != http.StatusOK || got == server || h.Get("Set-Cookie") == "" {
		t.Errorf("after the server died: got %d from %s, cookie %q; want 200 from another server, with its cookie", status, got, h.Get("Set-Cookie"))
	}
}

func TestACookieIsValidAfterAnEdgeRestart(t *testing.T) {
	s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", neverCompress)
	_, server, h := fetch(t, http.DefaultClient, s.url)
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s.load(t, "edge_proxy api:80 {\n affinity cookie\n}")
	for range 10 {
		req, err := http.NewRequest(http.MethodGet, s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != server {
			t.Fatalf("got %q, %v; want %q", body, err, server)
		}
	}
}

func TestAForgedCookieIsIgnoredAndReplaced(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", neverCompress)
	for _, value := range []string{"", "x", backends[0].address, strings.Repeat("A", 24), strings.Repeat("A", 4000)} {
		req, err := http.NewRequest(http.MethodGet, s.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "edge_api_80="+value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Set-Cookie") == "" {
			t.Errorf("%.30q: got %d with the cookie %q, want 200 with a new cookie", value, resp.StatusCode, resp.Header.Get("Set-Cookie"))
		}
	}
}

func TestAnUnknownSessionFollowsItsCookie(t *testing.T) {
	directives := "edge_proxy api:80 {\n affinity socketio cookie\n}"
	s, _ := serveThreePollingServers(t, directives, neverCompress)
	_, body, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil { // the learned session is lost
		t.Fatal(err)
	}
	s.load(t, directives)
	for range 10 {
		req, err := http.NewRequest(http.MethodGet, s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %d, want 200", resp.StatusCode)
		}
	}
	for range 10 { // now the edge has adopted the session
		if status, text, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body)); status != http.StatusOK {
			t.Fatalf("without the cookie: got %d %s, want 200", status, text)
		}
	}
}

// TestACompressedHandshakeIsForwardedAndItsSessionAdopted: the edge does not decompress a handshake of a server that ignores
// Accept-Encoding. The cookie leads the next request to the server, which accepts it.
func TestACompressedHandshakeIsForwardedAndItsSessionAdopted(t *testing.T) {
	s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio cookie\n}", alwaysCompress)
	for range 5 {
		_, body, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
		url := s.url + "/?EIO=4&transport=polling&sid=" + sessionOf(t, body)
		cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("with the cookie: got %d, want 200", resp.StatusCode)
		}
		for range 10 {
			if status, body, _ := fetch(t, http.DefaultClient, url); status != http.StatusOK {
				t.Fatalf("the adopted session without the cookie: got %d %s, want 200", status, body)
			}
		}
	}
}

func TestAReloadKeepsTheKeyIfItsFileIsUnreadable(t *testing.T) {
	directives := "edge_proxy api:80 {\n affinity cookie\n}"
	s, _ := serveThreePollingServers(t, directives, neverCompress)
	_, _, h := fetch(t, http.DefaultClient, s.url)
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(storageDir, "edge", "affinity.key")
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, key, 0o600); err != nil {
			t.Error(err)
		}
	})
	s.load(t, "header X-Other 1\n"+directives)
	req, err := http.NewRequest(http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(cookie)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if cookie := resp.Header.Get("Set-Cookie"); cookie != "" {
		t.Errorf("got the new cookie %q, want the old one to stay valid", cookie)
	}
}

// TestAnUnknownSessionSetsNoCookie: it is the client's previous session. Its next one may have begun and set its cookie.
func TestAnUnknownSessionSetsNoCookie(t *testing.T) {
	s := serveTwoBackends(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":1,"message":"Session ID unknown"}`)
	}, "edge_proxy api:80 {\n affinity socketio cookie\n}")
	for _, path := range []string{"/?EIO=4&transport=polling&sid=gone", "/?EIO=3&transport=polling&sid=gone"} {
		if status, _, header := s.send(t, http.MethodGet, path, nil); status != http.StatusBadRequest || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d with the cookie %q, want 400 without a cookie", path, status, header.Get("Set-Cookie"))
		}
	}
	if _, _, header := s.send(t, http.MethodGet, "/", nil); header.Get("Set-Cookie") == "" {
		t.Error("an ordinary request sets no cookie")
	}
}

// TestASessionOfADeadServerSetsNoCookie: a late response to the old session must not overwrite the cookie of the client's next
// session.
func TestASessionOfADeadServerSetsNoCookie(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio cookie\n}", neverCompress)
	_, body, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	sid := sessionOf(t, body)
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	backends[sid[0]-'a'].stop()
	for range 5 {
		req, err := http.NewRequest(http.MethodGet, s.url+"/?EIO=4&transport=polling&sid="+sid, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Set-Cookie") != "" {
			t.Fatalf("got %d with the cookie %q, want 400 without a cookie", resp.StatusCode, resp.Header.Get("Set-Cookie"))
		}
	}
}
