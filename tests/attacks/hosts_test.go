package attacks

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHostMustMatchTheConnection checks that a client cannot reach another site over a connection that it opened for one site
// (SNI), and that backends get the host of that site.
func TestHostMustMatchTheConnection(t *testing.T) {
	const ours = "accounting.localhost"
	for _, c := range []struct {
		attack, request string // target and headers, without the empty line
		ours            bool   // it is another spelling of the site's host
	}{
		{"another site", "/x HTTP/1.1\r\nHost: crm.localhost", false},
		{"an unknown host", "/x HTTP/1.1\r\nHost: evil.example", false},
		{"no host", "/x HTTP/1.1", false},
		{"an empty host", "/x HTTP/1.1\r\nHost:", false},
		{"two hosts", "/x HTTP/1.1\r\nHost: accounting.localhost\r\nHost: crm.localhost", false},
		{"a folded host", "/x HTTP/1.1\r\nHost: accounting.localhost\r\n crm.localhost", false},
		{"a list of hosts", "/x HTTP/1.1\r\nHost: accounting.localhost, crm.localhost", false},
		{"a user and a host", "/x HTTP/1.1\r\nHost: accounting.localhost@crm.localhost", false},
		{"a path in the host", "/x HTTP/1.1\r\nHost: accounting.localhost/../crm.localhost", false},
		{"a prefix", "/x HTTP/1.1\r\nHost: accounting.localhost.evil.example", false},
		{"a suffix", "/x HTTP/1.1\r\nHost: evil-accounting.localhost", false},
		{"an address", "/x HTTP/1.1\r\nHost: 127.0.0.1", false},
		{"a tab", "/x HTTP/1.1\r\nHost: accounting.localhost\tcrm.localhost", false},
		{"a target with another host", "https://crm.localhost/x HTTP/1.1\r\nHost: accounting.localhost", false},
		{"a target with an unknown host", "http://evil.example/x HTTP/1.1\r\nHost: accounting.localhost", false},
		{"HTTP/1.0 without a host", "/x HTTP/1.0", false},
		{"capitals", "/x HTTP/1.1\r\nHost: ACCOUNTING.localhost", true},
		{"a port", "/x HTTP/1.1\r\nHost: accounting.localhost:1", true},
		{"a dot at the end", "/x HTTP/1.1\r\nHost: accounting.localhost.", true},
		{"a target with our host", "https://accounting.localhost/x HTTP/1.1\r\nHost: accounting.localhost", true},
		{"a target with our host, beside another", "https://accounting.localhost/x HTTP/1.1\r\nHost: crm.localhost", true},
	} {
		t.Run(c.attack, func(t *testing.T) {
			backend.takeRecorded()
			answers, err := edge.send(ours, "GET "+c.request+"\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n")
			got := backend.takeRecorded()
			t.Logf("ATTACK host: %-40s backend: %-40s client: %s", c.attack, describeRequests(got), describeAnswers(answers, err))
			if len(answers) > 1 || len(got) > 1 || !c.ours && len(got) > 0 {
				t.Errorf("the backend got %d requests, and the client %d answers", len(got), len(answers))
			}
			for _, e := range got {
				hosts := append(e.hosts(), e.headers["X-Forwarded-Host"]...)
				name := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(hosts[0]), ":1"), ".")
				if name != ours || slices.ContainsFunc(hosts, func(h string) bool { return h != hosts[0] }) {
					t.Errorf("the backend gets the hosts %q", hosts)
				}
			}
			for _, a := range answers {
				if !c.ours && (a.StatusCode < 400 || a.StatusCode >= 500) {
					t.Errorf("the client got %d", a.StatusCode)
				}
				body, _ := io.ReadAll(a.Body) // send has read it into memory
				if bytes.Contains(body, []byte("evil.example")) || strings.Contains(a.Header.Get("Location"), "evil") {
					t.Errorf("the answer contains the attacker's host: %v %s", a.Header, body)
				}
			}
		})
	}
}

// TestPlainHTTPRedirectsOnlyToConfiguredSites checks that the redirect to HTTPS is not an open redirect.
func TestPlainHTTPRedirectsOnlyToConfiguredSites(t *testing.T) {
	for _, c := range []struct{ target, host, want string }{
		{"/x", "accounting.localhost", "https://accounting.localhost:"},
		{"/x", "evil.example", ""},
		{"/x", "accounting.localhost.evil.example", ""},
		{"/x", "accounting.localhost@evil.example", ""},
		{"//evil.example/x", "accounting.localhost", "https://accounting.localhost:"},
		{`/\evil.example`, "accounting.localhost", "https://accounting.localhost:"},
		{"http://evil.example/x", "accounting.localhost", ""},
		{"/x%0d%0aSet-Cookie:a=b", "accounting.localhost", "https://accounting.localhost:"},
	} {
		conn, err := net.DialTimeout("tcp", edge.http, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", c.target, c.host)
		text, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			t.Error(err)
		}
		head, _, _ := strings.Cut(string(text), "\r\n\r\n")
		_, location, _ := strings.Cut(head, "Location: ")
		location, _, _ = strings.Cut(location, "\r\n")
		t.Logf("ATTACK redirect: %-50s client: %q", c.host+" "+c.target, location)
		if (location == "") != (c.want == "") || !strings.HasPrefix(location, c.want) || strings.Contains(strings.TrimPrefix(location, c.want), "\n") || strings.Contains(head, "\r\nSet-Cookie") {
			t.Errorf("%s at %s redirects to %q:\n%s", c.target, c.host, location, head)
		}
	}
}

// TestSpoofedHeadersReachNoBackend sends the headers by which a client can claim another address, scheme or host, in every spelling
// that some program treats as the same name.
func TestSpoofedHeadersReachNoBackend(t *testing.T) {
	const spoofed = "6.6.6.6"
	var names []string
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
		"X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "Forwarded",
	} {
		names = append(names, name, strings.ToUpper(name), strings.ToLower(name), strings.ReplaceAll(name, "-", "_"),
			strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", "_", 1), strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	for _, host := range []string{"accounting.localhost", "crm.localhost", "docs.localhost"} {
		for _, name := range names {
			backend.takeRecorded()
			answers, err := edge.send(host, "GET /api/claim HTTP/1.1\r\nHost: "+host+"\r\n"+name+": "+spoofed+"\r\nConnection: close\r\n\r\n")
			got := backend.takeRecorded()
			t.Logf("ATTACK spoofed header: %-60s backend: %-30s client: %s", host+" "+name, describeRequests(got), describeAnswers(answers, err))
			if len(answers) != 1 || len(got) > 1 {
				t.Errorf("%s %s: %s", host, name, describeAnswers(answers, err))
			}
			for _, e := range got {
				if strings.Contains(e.head, spoofed) {
					t.Errorf("the backend gets the value of %s:\n%s", name, e.head)
				}
				if e.headers.Get("X-Real-IP") != "127.0.0.1" || e.headers.Get("X-Forwarded-For") != "127.0.0.1" || e.headers.Get("X-Forwarded-Proto") != "https" {
					t.Errorf("%s: the edge's own headers are missing: %v", name, e.headers)
				}
			}
		}
	}
}

// TestCrossOriginWebSocketsAreRefused: browsers allow pages of any site to open WebSockets, and send the user's cookies along.
func TestCrossOriginWebSocketsAreRefused(t *testing.T) {
	for _, c := range []struct {
		host, path, origin string
		refused            bool
	}{
		{"crm.localhost", "/api/websocket", "https://evil.example", true},
		{"crm.localhost", "/api/websocket", "null", true},
		{"crm.localhost", "/api/websocket", "https://accounting.localhost", true},
		{"accounting.localhost", "/socket/?EIO=4&transport=websocket", "https://evil.example", true},
		{"accounting.localhost", "/socket.io/?EIO=4&transport=websocket", "https://accounting.localhost.evil.example", true},
		{"accounting.localhost", "/socket/?EIO=4&transport=websocket", "https://accounting.localhost", false},
		{"crm.localhost", "/api/websocket", "", false},
	} {
		backend.takeRecorded()
		origin := "Origin: " + c.origin + "\r\n"
		if c.origin == "" {
			origin = ""
		}
		answers, err := edge.send(c.host, "GET "+c.path+" HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+origin+"\r\n")
		got := backend.takeRecorded()
		t.Logf("ATTACK origin: %-60s backend: %-30s client: %s", c.host+" from "+c.origin, describeRequests(got), describeAnswers(answers, err))
		refused := len(answers) == 1 && answers[0].StatusCode == http.StatusForbidden && len(got) == 0
		if refused != c.refused || len(got) > 0 == c.refused {
			t.Errorf("%s from %q: %s, backend: %s", c.host, c.origin, describeAnswers(answers, err), describeRequests(got))
		}
	}
}
