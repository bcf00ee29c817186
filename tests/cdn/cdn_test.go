package cdn

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

// TestWhatACDNStores: files whose names change with their content, and nothing else.
func TestWhatACDNStores(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		name, target string
		status       int
		second       string // CF-Cache-Status of the second request
		requests     int    // that the application gets of two
		cacheControl string
	}{
		{"a file with a hashed name", "/assets/index-4f8a21.js", 200, "HIT", 1, "public, max-age=31536000, immutable"},
		{"the page", "/index.html", 200, "DYNAMIC", 2, "no-cache"},
		{"the page in a file's place", "/assets/gone-123456.js", 200, "BYPASS", 2, "no-cache"},
		{"the page in another file's place", "/favicon.ico", 200, "BYPASS", 2, "no-cache"},
		{"an answer of the API", "/api/accounts", 200, "DYNAMIC", 2, "no-cache"},
		{"cache deception", "/api/me/x.css", 200, "BYPASS", 2, "no-cache"},
		{"cache deception with a parameter", "/api/me;x.css", 200, "BYPASS", 2, "no-cache"},
		{"with an encoded slash", "/api/me%2Fx.css", 200, "BYPASS", 2, "no-cache"},
		{"with an encoded semicolon", "/api/me%3Bx.css", 200, "BYPASS", 2, "no-cache"},
		{"with an encoded number sign", "/api/me%23x.css", 200, "BYPASS", 2, "no-cache"},
		{"with an encoded question mark", "/api/me%3Fx.css", 200, "BYPASS", 2, "no-cache"},
		{"with an encoded new line", "/api/me%0Ax.css", 200, "BYPASS", 2, "no-cache"},
		{"with a NUL", "/api/me%00x.css", 200, "BYPASS", 2, "no-cache"},
		{"twice encoded", "/api/me%252Fx.css", 200, "BYPASS", 2, "no-cache"},
		{"out of the files' directory", "/assets/..%2Fapi/me/x.css", 200, "BYPASS", 2, "no-cache"},
		{"out of it with encoded dots", "/assets/%2e%2e/api/me/x.css", 200, "BYPASS", 2, "no-cache"},
		{"with a backslash", "/api/me%5Cx.css", 200, "BYPASS", 2, "no-cache"},
		{"an error of the API", "/api/fails.js", 500, "BYPASS", 2, ""},
		{"a blocked path", "/api/queues/x.css", 404, "BYPASS", 0, "no-store"},
	} {
		_, before := s.app.last()
		first := s.mustRequest(t, "GET", c.target, "Authorization", "Bearer of the victim")
		second := s.mustRequest(t, "GET", c.target)
		_, after := s.app.last()
		t.Logf("%-34s the edge: %d, Cache-Control %q, CDN-Cache-Control %q; the visitor: %s, then %s; the application got %d of 2", c.name, first.status,
			first.header.Get("Cache-Control"), first.header.Get("CDN-Cache-Control"), first.header.Get("CF-Cache-Status"), second.header.Get("CF-Cache-Status"), after-before)
		if hsts := first.header.Values("Strict-Transport-Security"); len(hsts) != 1 {
			t.Errorf("%s: Strict-Transport-Security %q, want one value, and the edge's", c.name, hsts)
		}
		if first.status != c.status || second.header.Get("CF-Cache-Status") != c.second || after-before != c.requests || first.header.Get("Cache-Control") != c.cacheControl {
			t.Errorf("%s: %d, %s, %d requests, Cache-Control %q; want %+v", c.name, first.status, second.header.Get("CF-Cache-Status"), after-before, first.header.Get("Cache-Control"), c)
		}
		if strings.Contains(second.body, "victim") {
			t.Errorf("%s: another visitor got %s", c.name, second.body)
		}
	}
}

// TestACacheIsNotPoisoned sends headers that applications take for the host, the path or the scheme, with requests for what the CDN stores.
func TestACacheIsNotPoisoned(t *testing.T) {
	s := start(t)
	want := s.mustRequest(t, "GET", "/api/clean").header
	for _, header := range [][2]string{
		{"X-Forwarded-Host", "evil.example"},
		{"X-Host", "evil.example"},
		{"X-Original-URL", "/api/me"},
		{"X-Rewrite-URL", "/api/me"},
		{"X-Forwarded-Scheme", "http"},
		{"Forwarded", "host=evil.example"},
		{"X-HTTP-Method-Override", "POST"},
	} {
		target := "/assets/index-4f8a21.js?" + url.QueryEscape(header[0])
		a := s.mustRequest(t, "GET", target, header[0], header[1])
		if a.status != http.StatusOK || a.body != asset {
			t.Errorf("%s: %d %s", header[0], a.status, a.body)
		}
		if next := s.mustRequest(t, "GET", target); next.header.Get("CF-Cache-Status") != "HIT" || next.body != asset || next.header.Get("Location") != "" {
			t.Errorf("%s: the next visitor gets %d %s %s", header[0], next.status, next.header, next.body)
		}
		got, _ := s.app.last()
		if got.Host != host || got.URL.Path != "/assets/index-4f8a21.js" {
			t.Errorf("%s: the application got %s%s", header[0], got.Host, got.URL.Path)
		}
		for name, values := range got.Header {
			if text := strings.Join(values, ","); strings.Contains(text, "evil.example") || strings.Contains(text, "/api/me") {
				t.Errorf("%s: the application got %s: %q", header[0], name, values)
			}
		}
	}
	// What is wrong with one visitor's request is not stored for the next one.
	for name, c := range map[string]struct {
		status int
		attack func(target string) (*answer, error)
	}{
		"a body": {200, func(target string) (*answer, error) {
			return s.request("GET", target, strings.NewReader("x=evil.example"))
		}},
		"a header that is too large": {431, func(target string) (*answer, error) {
			return s.request("GET", target, nil, "X-Large", strings.Repeat("evil.example", 100_000))
		}},
		"a part":         {200, func(target string) (*answer, error) { return s.request("GET", target, nil, "Range", "bytes=0-3") }},
		"an expectation": {417, func(target string) (*answer, error) { return s.request("GET", target, nil, "Expect", "evil.example") }},
	} {
		target := "/assets/index-4f8a21.js?" + url.QueryEscape(name)
		first, err := c.attack(target)
		if err != nil || first.status != c.status {
			t.Errorf("%s: %+v, %v; want %d", name, first, err, c.status)
		}
		if next := s.mustRequest(t, "GET", target); next.status != http.StatusOK || next.body != asset {
			t.Errorf("after %s, the next visitor gets %d %.100q", name, next.status, next.body)
		}
	}
	for _, status := range []int{404, 500, 503} {
		target := fmt.Sprintf("/assets/fails-%d.js", status)
		first, second := s.mustRequest(t, "GET", target), s.mustRequest(t, "GET", target)
		if first.status != status || second.status != status || first.header.Get("CDN-Cache-Control") != "no-store" || second.header.Get("CF-Cache-Status") != "BYPASS" {
			t.Errorf("%d in a file's place: %d %v, then %d %s", status, first.status, first.header, second.status, second.header.Get("CF-Cache-Status"))
		}
	}
	if want.Get("CDN-Cache-Control") != "no-store" {
		t.Errorf("CDN-Cache-Control of the API: %q", want.Get("CDN-Cache-Control"))
	}
}

// TestTheApplicationGetsTheVisitorsAddress: not the CDN's, and not one that the visitor claims.
func TestTheApplicationGetsTheVisitorsAddress(t *testing.T) {
	s := start(t)
	a := s.mustRequest(t, "GET", "/api/me", "X-Forwarded-For", "198.51.100.1", "CF-Connecting-IP", "198.51.100.1", "X-Real-IP", "198.51.100.1")
	got, _ := s.app.last()
	t.Logf("the application got X-Real-IP %q, X-Forwarded-For %q", got.Header.Get("X-Real-Ip"), got.Header.Get("X-Forwarded-For"))
	if !strings.Contains(a.body, `"address":"127.0.0.1"`) {
		t.Errorf("the application took the address from %s", a.body)
	}
}

// TestNobodyReachesTheSitesPastTheCDN: without its certificate, also if one's address is the CDN's.
func TestNobodyReachesTheSitesPastTheCDN(t *testing.T) {
	s := start(t)
	other, err := authority.New("CDN", time.Now()) // of the same name
	if err != nil {
		t.Fatal(err)
	}
	pem, err := other.Sign("cdn", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from         string
		certificates []tls.Certificate
	}{
		"without a certificate":                        {"127.0.0.1", nil},
		"with another customer's":                      {"127.0.0.1", []tls.Certificate{foreign}},
		"from the CDN's address without a certificate": {address, nil},
	} {
		_, before := s.app.last()
		client := &http.Client{Transport: &http.Transport{
			DialContext:     dialTo(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}, s.https),
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.certificates, ServerName: host},
		}}
		a, err := send(client, "GET", "https://"+host+"/api/me", nil)
		if err == nil {
			t.Errorf("%s: got %d", name, a.status)
		}
		t.Logf("%s: %v", name, err)
		if _, after := s.app.last(); after != before {
			t.Errorf("%s: the application got a request", name)
		}
	}
	// A handshake for a site that demands no certificate must not open the way to one that does.
	client := &http.Client{Transport: &http.Transport{
		DialContext:     dialTo(new(net.Dialer), s.https),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "open.localhost"},
	}}
	_, before := s.app.last()
	a, err := send(client, "GET", "https://open.localhost/api/me", nil)
	if err != nil || a.status != http.StatusMisdirectedRequest {
		t.Errorf("by another name in the handshake: %+v, %v", a, err)
	}
	if _, after := s.app.last(); after != before {
		t.Error("by another name in the handshake: the application got a request")
	}
	// Who connects directly cannot choose an address either: the redirect is all that plain HTTP has.
	plain := &http.Client{Transport: &http.Transport{DialContext: dialTo(new(net.Dialer), s.http)}}
	a, err = send(plain, "GET", "http://"+host+"/api/me", nil, "X-Forwarded-Proto", "https")
	if err != nil || a.status != http.StatusPermanentRedirect {
		t.Errorf("plain HTTP: %v, %v", a, err)
	}
}

// TestARedirectThatWouldNotEndIsNamed: the CDN speaks HTTP to the edge ("Flexible").
func TestARedirectThatWouldNotEndIsNamed(t *testing.T) {
	s := start(t)
	flexible := newCDN("http", s.http, nil)
	visitors := flexible.start()
	defer visitors.Close()
	a, err := send(visitors.Client(), "GET", visitors.URL+"/", nil)
	if err != nil || a.status != http.StatusLoopDetected || !strings.Contains(a.body, "Full (strict)") {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestCompressionOnTheWay: ETags and Vary survive what the CDN does to the encoding.
func TestCompressionOnTheWay(t *testing.T) {
	s := start(t)
	for _, encoding := range []string{"identity", "gzip"} {
		a, err := send(s.visitors.Client(), "GET", s.visitors.URL+"/assets/index-4f8a21.js?"+encoding, nil, "Accept-Encoding", encoding)
		if err != nil || a.status != http.StatusOK {
			t.Fatal(a, err)
		}
		tag := a.header.Get("ETag")
		t.Logf("%s: Content-Encoding %q, ETag %s, Vary %q", encoding, a.header.Get("Content-Encoding"), tag, a.header.Get("Vary"))
		if vary := strings.Join(a.header.Values("Vary"), ","); tag == "" || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%s: ETag %q, Vary %q", encoding, tag, vary)
		}
		// A path that the CDN does not store asks the application with that tag.
		again := s.mustRequest(t, "HEAD", "/assets/index-4f8a21.js", "If-None-Match", tag)
		if again.status != http.StatusNotModified {
			t.Errorf("%s: a request with the tag %s got %d", encoding, tag, again.status)
		}
	}
}

func TestLimitsOfTheCDN(t *testing.T) {
	s := start(t)
	large, err := s.request("POST", "/api/attachments", strings.NewReader(strings.Repeat("x", 2<<20)))
	if err != nil || large.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %+v, %v", large, err)
	}
	// Of a body without a length, the CDN notices it on the way. The application must not take the part for all of it.
	chunked, err := s.request("POST", "/api/attachments", io.MultiReader(strings.NewReader(strings.Repeat("x", 2<<20))))
	if err != nil || chunked.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body without a length: %+v, %v", chunked, err)
	}
	harness.Eventually(t, "the application notices that the body is cut", func() bool { return s.app.cut.Load() == 1 })
	if small, err := s.request("POST", "/api/attachments", io.MultiReader(strings.NewReader("x"))); err != nil || small.status != http.StatusOK || s.app.uploads.Load() != 1 {
		t.Errorf("a small body: %+v, %v; %d have arrived", small, err, s.app.uploads.Load())
	}
	if slow := s.mustRequest(t, "GET", "/api/slow"); slow.status != 524 {
		t.Errorf("a slow answer: %+v", slow)
	}
	harness.Eventually(t, "the application notices that the CDN has left", func() bool {
		return s.app.abandoned.Load() == 1
	})
}

func TestWebSocketsPassTheCDN(t *testing.T) {
	s := start(t)
	s.cdn.maxSilence = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.visitors.URL+"/socket", &websocket.DialOptions{
		HTTPClient: s.visitors.Client(), Host: host, HTTPHeader: http.Header{"Origin": {"https://" + host}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for i := range 12 {
		message := fmt.Sprintf("message %d", i)
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != message {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(s.cdn.maxSilence / 10) // together they are longer than a silence may be
	}
	if n := s.app.sockets.Load(); n != 0 {
		t.Error("it was closed although there were messages")
	}
	began := time.Now()
	if _, _, err := conn.Read(ctx); err == nil || time.Since(began) < s.cdn.maxSilence/2 || time.Since(began) > 5*s.cdn.maxSilence {
		t.Errorf("a WebSocket without messages: %v after %v", err, time.Since(began))
	}
	harness.Eventually(t, "the application notices that the CDN has closed it", func() bool { return s.app.sockets.Load() == 1 })
}

// TestCertificatesThroughTheCDN: the authority's requests come through the CDN. Its own connection to port 443 would get the CDN's certificate, so only HTTP-01 works.
func TestCertificatesThroughTheCDN(t *testing.T) {
	plain, encrypted := testport.Port(t), testport.Port(t)
	ports := make([]int, 2)
	for i, port := range []string{plain, encrypted} {
		var err error
		if ports[i], err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
	}
	ca := lab.Start(t, lab.Options{HTTPPort: ports[0], TLSPort: ports[1]})
	const domain, name = "cdn.test", "accounting.cdn.test"
	ca.Resolve(t, name, "127.0.0.1")
	s := new(site)
	_, certificate := s.startEdge(t, domain, "ACME_OPTIONS=acme_ca "+ca.URL+"\nacme_ca_root "+ca.RootFile, "ACME_EMAIL=admin@cdn.test")
	unencrypted, visitors := newCDN("http", s.http, nil), newCDN("https", s.https, []tls.Certificate{certificate})
	for port, handler := range map[string]http.Handler{plain: unencrypted, encrypted: visitors} {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(handler)
		_ = server.Listener.Close() // it has another port
		server.Listener = listener
		if port == plain {
			server.Start()
		} else {
			server.StartTLS()
		}
		t.Cleanup(server.Close)
	}
	began := time.Now()
	harness.Eventually(t, "the edge has a certificate of the authority", func() bool {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+s.https, &tls.Config{ServerName: name, RootCAs: ca.Issued, Certificates: []tls.Certificate{certificate}})
		return err == nil && conn.Close() == nil
	})
	t.Logf("a certificate after %v, with %d orders", time.Since(began).Round(100*time.Millisecond), len(ca.Orders(name)))
	if n := len(ca.Orders(name)); n > 2 {
		t.Errorf("%d orders", n)
	}
}

// TestABrowserGetsFilesFromTheCDN: the second visitor, whose browser has stored nothing, gets the application's files without the application, and all else from it.
func TestABrowserGetsFilesFromTheCDN(t *testing.T) {
	s := start(t)
	url := "https://" + net.JoinHostPort(host, strings.TrimPrefix(s.visitors.Listener.Addr().String(), "127.0.0.1:")) + "/"
	var stderr strings.Builder
	browser := exec.CommandContext(t.Context(), "node", "../browser/visits.js", url, "127.0.0.1", "2")
	browser.Stderr = &stderr
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	type request struct {
		Path, Cache string
		Status      int
	}
	var visits []struct {
		Requests []request
		Socket   string
		Errors   []string
	}
	if err := json.Unmarshal(out, &visits); err != nil {
		t.Fatal(err)
	}
	for i, v := range visits {
		t.Logf("visitor %d: %+v", i+1, v)
		want := map[request]bool{
			{"/", "DYNAMIC", 200}: true, {"/assets/index-4f8a21.js", "HIT", 200}: true, {"/api/accounts", "DYNAMIC", 200}: true,
		}
		for _, r := range v.Requests {
			if i == 0 && r.Cache == "MISS" { // or HIT, if the page was opened twice, since a network had changed
				r.Cache = "HIT"
			}
			delete(want, r)
		}
		if len(want) > 0 || v.Socket != "hello" || len(v.Errors) > 0 {
			t.Errorf("visitor %d: %+v, without %v", i+1, v, want)
		}
	}
	got := map[string]int{}
	s.app.mu.Lock()
	defer s.app.mu.Unlock()
	for _, r := range s.app.seen {
		got[r.URL.Path]++
	}
	t.Logf("the application got %v", got)
	if len(visits) != 2 || got["/assets/index-4f8a21.js"] != 1 || got["/api/accounts"] < 2 {
		t.Errorf("%d visitors, and the application got %v; want the file once and the API's answer for each of two", len(visits), got)
	}
}
