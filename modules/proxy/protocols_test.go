package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/theworklabs/edge/modules/edge"
)

func TestH2CIsNeverForwarded(t *testing.T) {
	var upgrade, settings, connection atomic.Value
	b := newWireBackend(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) {
		upgrade.Store(r.Header.Get("Upgrade"))
		settings.Store(r.Header.Get("Http2-Settings"))
		connection.Store(r.Header.Get("Connection"))
		if r.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	for _, protocol := range []string{"h2c", "H2C", "HTTP/2.0", "TLS/1.2, HTTP/1.1", "h2c, "} {
		conn := s.dial(t)
		writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: "+protocol+"\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n\n")
		if resp, body := readResponse(t, conn); resp.StatusCode != http.StatusOK || body != "plain" {
			t.Errorf("%s: %s %q", protocol, resp.Status, body)
		}
		if upgrade.Load() != "" || settings.Load() != "" || strings.Contains(connection.Load().(string), "pgrade") {
			t.Errorf("%s: the backend saw Upgrade %q, HTTP2-Settings %q, Connection %q", protocol, upgrade.Load(), settings.Load(), connection.Load())
		}
	}
}

// TestARequestThatAsksForH2CIsRetriedLikeAnyOther: Java's HttpClient asks with every one.
func TestARequestThatAsksForH2CIsRetriedLikeAnyOther(t *testing.T) {
	var b *wireBackend
	b = newWireBackend(t, func(conn net.Conn, _ *http.Request, _ *bufio.Reader) {
		if b.requests.Load() > 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	s := b.serveSite(t, new(site), "edge_proxy api:80")
	conn := s.dial(t)
	writeRequest(t, conn, "GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n\n")
	if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

func TestOtherProtocolsAreForwarded(t *testing.T) {
	for asked, request := range map[string]string{
		"websocket":       "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket, h2c\n\n",
		"WebSocket":       "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: h2c, WebSocket\n\n",
		"tcp":             "POST /exec/1/start HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: tcp\nContent-Type: application/json\nContent-Length: 29\n\n{\"Detach\":false,\"Tty\":false}\n",
		"custom/2, other": "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: custom/2, other\n\n",
	} {
		var seen, body atomic.Value
		b := newWireBackend(t, func(conn net.Conn, r *http.Request, rest *bufio.Reader) {
			text, _ := io.ReadAll(r.Body)
			body.Store(string(text))
			seen.Store(r.Header.Get("Upgrade"))
			protocol, _, _ := strings.Cut(r.Header.Get("Upgrade"), ",")
			_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\nahead ")
			_, _ = io.Copy(conn, rest)
		})
		s := b.serveSite(t, new(site), "edge_proxy api:80")
		conn := s.dial(t)
		text := strings.Replace(request, "}\n", "}", 1)
		if head, rest, ok := strings.Cut(text, "\n\n"); ok {
			writeRequest(t, conn, head+"\n\n")
			if asked == "tcp" {
				rest += "\n" // 29 bytes
			}
			if _, err := io.WriteString(conn, rest); err != nil {
				t.Fatal(err)
			}
		}
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s: %v %v", asked, resp, err)
			continue
		}
		if _, err := io.WriteString(conn, "echo"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("ahead echo"))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != "ahead echo" {
			t.Errorf("%s: %q %v", asked, got, err)
		}
		if !strings.EqualFold(seen.Load().(string), asked) {
			t.Errorf("%s: the backend was asked for %q", asked, seen.Load())
		}
		if want := map[bool]string{true: "{\"Detach\":false,\"Tty\":false}\n"}[asked == "tcp"]; body.Load() != want {
			t.Errorf("%s: the backend got the body %q", asked, body.Load())
		}
		conn.Close()
	}
}

func TestAnUnrequestedProtocolSwitchIs502(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		for _, ask := range []string{"", "Connection: Upgrade\nUpgrade: other\n"} {
			b := newCannedBackend(t, "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\n")
			s := b.serveSite(t, new(site), "edge_proxy api:80")
			before := edge.Snapshot()[0].Lost
			conn := s.dial(t)
			writeRequest(t, conn, method+" / HTTP/1.1\nHost: a\n"+ask+"Content-Length: 0\n\n")
			if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusBadGateway {
				t.Errorf("%s, %q: %s, want 502", method, ask, resp.Status)
			}
			lost := edge.Snapshot()[0].Lost
			if unknown := lost.Unknown - before.Unknown; unknown != map[string]uint64{"GET": 0, "POST": 1}[method] {
				t.Errorf("%s: %d are of unknown outcome", method, unknown)
			}
			if b.requests.Load() != 1 {
				t.Errorf("%s, %q: asked %d times", method, ask, b.requests.Load())
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
