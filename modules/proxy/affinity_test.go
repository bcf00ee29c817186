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
	for _, name := range []string{"a", "b", "c"} {
		p := &pollingServer{name: name, compression: c, sessions: make(map[string]bool)}
		b := newBackend(t, p.ServeHTTP).start(t)
		addresses, backends = append(addresses, b.address), append(backends, b)
	}
	return serveReady(t, directives, addresses...), backends
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

// fetch gets a URL, with these cookies and those of the client's jar, and returns the status, the decompressed body and the headers.
func fetch(t *testing.T, c *http.Client, url string, cookies ...*http.Cookie) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range cookies {
		req.AddCookie(cookie)
	}
	resp, err := c.Do(req)
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

// affinityCookie returns the cookie that a response sets.
func affinityCookie(t *testing.T, h http.Header) *http.Cookie {
	t.Helper()
	cookie, err := http.ParseSetCookie(h.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	return cookie
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
	cookie := affinityCookie(t, h)
	stopCaddy(t)
	s.load(t, "edge_proxy api:80 {\n affinity cookie\n}")
	for range 10 {
		if _, got, _ := fetch(t, http.DefaultClient, s.url, cookie); got != server {
			t.Fatalf("got server %s, want %s", got, server)
		}
	}
}

func TestAForgedCookieIsIgnoredAndReplaced(t *testing.T) {
	s, backends := serveThreePollingServers(t, "edge_proxy api:80 {\n affinity cookie\n}", neverCompress)
	for _, value := range []string{"", "x", backends[0].address, strings.Repeat("A", 24), strings.Repeat("A", 4000)} {
		forged := &http.Cookie{Name: "edge_api_80", Value: value}
		if status, _, h := fetch(t, http.DefaultClient, s.url, forged); status != http.StatusOK || h.Get("Set-Cookie") == "" {
			t.Errorf("%.30q: got %d with the cookie %q, want 200 with a new cookie", value, status, h.Get("Set-Cookie"))
		}
	}
}

func TestAnUnknownSessionFollowsItsCookie(t *testing.T) {
	directives := "edge_proxy api:80 {\n affinity socketio cookie\n}"
	s, _ := serveThreePollingServers(t, directives, neverCompress)
	_, body, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling")
	cookie := affinityCookie(t, h)
	stopCaddy(t) // the learned session is lost
	s.load(t, directives)
	url := s.url + "/?EIO=4&transport=polling&sid=" + sessionOf(t, body)
	for range 10 {
		if status, text, _ := fetch(t, http.DefaultClient, url, cookie); status != http.StatusOK {
			t.Fatalf("got %d %s, want 200", status, text)
		}
	}
	for range 10 { // now the edge has adopted the session
		if status, text, _ := fetch(t, http.DefaultClient, url); status != http.StatusOK {
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
		url, cookie := s.url+"/?EIO=4&transport=polling&sid="+sessionOf(t, body), affinityCookie(t, h)
		if status, body, _ := fetch(t, http.DefaultClient, url, cookie); status != http.StatusOK {
			t.Fatalf("with the cookie: got %d %s, want 200", status, body)
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
	cookie := affinityCookie(t, h)
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
	if _, _, h := fetch(t, http.DefaultClient, s.url, cookie); h.Get("Set-Cookie") != "" {
		t.Errorf("got the new cookie %q, want the old one to stay valid", h.Get("Set-Cookie"))
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
	cookie := affinityCookie(t, h)
	backends[sid[0]-'a'].stop()
	for range 5 {
		status, _, h := fetch(t, http.DefaultClient, s.url+"/?EIO=4&transport=polling&sid="+sid, cookie)
		if status != http.StatusBadRequest || h.Get("Set-Cookie") != "" {
			t.Fatalf("got %d with the cookie %q, want 400 without a cookie", status, h.Get("Set-Cookie"))
		}
	}
}
