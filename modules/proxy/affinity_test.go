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

// pollingServer is an Engine.IO server that knows only the sessions that it began itself.
type pollingServer struct {
	name     string
	compress bool // compress the handshake

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
		p.handshake(w, sid)
	case p.sessions[sid]:
		fmt.Fprint(w, "ok ", p.name)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":1,"message":"Session ID unknown"}`)
	}
}

func (p *pollingServer) handshake(w http.ResponseWriter, sid string) {
	body := fmt.Sprintf(`0{"sid":%q,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}`, sid)
	if !p.compress {
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
func serveThreePollingServers(t *testing.T, directives string, encode bool) (*site, []*backend) {
	t.Helper()
	var addresses []string
	var backends []*backend
	var ready []<-chan struct{}
	for _, name := range []string{"a", "b", "c"} {
		p := &pollingServer{name: name, compress: encode, sessions: make(map[string]bool)}
		b := newBackend(t, p.ServeHTTP).start(t)
		addresses, backends = append(addresses, b.address), append(backends, b)
		ready = append(ready, watchState(t, b.address, registry.Ready))
	}
	s := serve(t, map[string][]string{"api:80": addresses}, directives)
	for _, r := range ready {
		<-r
	}
	return s, backends
}

// sessionOf returns the sid in the body of a handshake.
func sessionOf(t *testing.T, body string) string {
	t.Helper()
	_, rest, ok := strings.Cut(body, `"sid":"`)
	sid, _, ok2 := strings.Cut(rest, `"`)
	if !ok || !ok2 {
		t.Fatalf("no session in %q", body)
	}
	return sid
}

// fetch gets a path with a client and returns the body, unpacked.
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
	for name, encode := range map[string]bool{"plain": false, "gzip": true} {
		t.Run(name, func(t *testing.T) {
			s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", encode)
			servers := make(map[string]bool)
			for range 20 {
				_, body, _ := fetch(t, http.DefaultClient, s.url+"/socket/?EIO=4&transport=polling")
				sid := sessionOf(t, body)
				servers[sid[:1]] = true
				for range 10 {
					if status, body, h := fetch(t, http.DefaultClient, s.url+"/socket/?EIO=4&transport=polling&sid="+sid); status != http.StatusOK || h.Get("Set-Cookie") != "" {
						t.Fatalf("%d %s %v", status, body, h)
					}
				}
			}
			if len(servers) != 3 {
				t.Errorf("sessions began on %v, want on all", servers)
			}
		})
	}
}

func TestASessionOutlivesAReload(t *testing.T) {
	s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", false)
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	sid := sessionOf(t, body)
	s.load(t, "header X-Other 1\nedge_proxy api:80 {\n affinity socketio\n}")
	for range 10 {
		if status, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sid); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
}

func TestASessionOfADeadServerGets400(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio\n}", false)
	_, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	sid := sessionOf(t, body)
	backends[sid[0]-'a'].stop()
	if status, body, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sid); status != http.StatusBadRequest {
		t.Errorf("%d %s, want the answer of a server that does not know it", status, body)
	}
}

func TestACookieKeepsAClientOnItsServerAndIsSetOnce(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", false)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	_, server, h := fetch(t, c, s.url)
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"edge_api_80=", "Path=/", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q has no %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "Secure") || strings.Contains(cookie, "127.0.0.1") {
		t.Errorf("the cookie %q is Secure over plain HTTP, or tells an address", cookie)
	}
	for range 20 {
		if _, again, h := fetch(t, c, s.url); again != server || h.Get("Set-Cookie") != "" {
			t.Fatalf("from %s to %s, with %q", server, again, h.Get("Set-Cookie"))
		}
	}
	backends[server[0]-'a'].stop()
	if status, again, h := fetch(t, c, s.url); status != http.StatusOK || again == server || h.Get("Set-Cookie") == "" {
		t.Errorf("after its server died: %d from %s, cookie %q; want another one and its cookie", status, again, h.Get("Set-Cookie"))
	}
}

func TestACookieIsValidAfterAnEdgeRestart(t *testing.T) {
	s, _ := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", false)
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
			t.Fatalf("%q %v, want %q", body, err, server)
		}
	}
}

func TestAForgedCookieIsIgnoredAndReplaced(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", false)
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
			t.Errorf("%.30q: %d, cookie %q; want an answer with a good one", value, resp.StatusCode, resp.Header.Get("Set-Cookie"))
		}
	}
}

func TestAnUnknownSessionFollowsItsCookie(t *testing.T) {
	directives := "edge_proxy api:80 {\n affinity socketio cookie\n}"
	s, _ := serveThreePollingServers(t, directives, false)
	_, body, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil { // what was learned is gone
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
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
	for range 10 { // by now it is known again
		if status, text, _ := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body)); status != http.StatusOK {
			t.Fatalf("without the cookie: %d %s", status, text)
		}
	}
}

func TestAReloadKeepsTheKeyIfItsFileIsUnreadable(t *testing.T) {
	directives := "edge_proxy api:80 {\n affinity cookie\n}"
	s, _ := serveThreePollingServers(t, directives, false)
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
	if again := resp.Header.Get("Set-Cookie"); again != "" {
		t.Errorf("its cookie counts no more: got %q", again)
	}
}

// TestARefusedSessionSetsNoCookie: it is the client's last one, whose next may have begun, and set its cookie, meanwhile.
func TestARefusedSessionSetsNoCookie(t *testing.T) {
	s := serveTwoBackends(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":1,"message":"Session ID unknown"}`)
	}, "edge_proxy api:80 {\n affinity socketio cookie\n}")
	for _, path := range []string{"/?EIO=4&transport=polling&sid=gone", "/?EIO=3&transport=polling&sid=gone"} {
		if status, _, header := s.send(t, http.MethodGet, path, nil); status != http.StatusBadRequest || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, and sets %q", path, status, header.Get("Set-Cookie"))
		}
	}
	if _, _, header := s.send(t, http.MethodGet, "/", nil); header.Get("Set-Cookie") == "" {
		t.Error("an ordinary request sets none either")
	}
}

// TestASessionWhoseServerIsGoneSetsNoCookie: the edge has learned the session, and its server is gone. A request of it that
// is answered late must not undo the cookie of the client's next session.
func TestASessionWhoseServerIsGoneSetsNoCookie(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity socketio cookie\n}", false)
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
			t.Fatalf("%d, and sets %q", resp.StatusCode, resp.Header.Get("Set-Cookie"))
		}
	}
}
