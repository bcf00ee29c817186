package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/modules/edge"
)

func TestWebSocketsPassBothWays(t *testing.T) {
	s := serveReady(t, "edge_proxy api:80", newWebSocketEcho(t).address)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn := s.openWebSocket(t)
	for i := range 10 {
		want := strings.Repeat("x", i*1000)
		if err := conn.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("message %d: got %v, %d bytes", i, err, len(got))
		}
	}
	if _, resp, err := websocket.Dial(ctx, s.url+"/rejected", nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a rejected upgrade: got %v, want 401", err)
	}
}

func TestAHalfClosedUpgradeDeliversTheRest(t *testing.T) {
	a := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
		received, _ := io.ReadAll(buffered) // until the client closes its direction
		fmt.Fprintf(conn, "got %d", len(received))
	}).start(t)
	s := serveReady(t, "edge_proxy api:80", a.address)
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	fmt.Fprint(conn, "hello")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil || !strings.HasSuffix(string(text), "got 5") {
		t.Errorf("%q %v", text, err)
	}
}

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
			t.Errorf("%s: got %s %q, want 200 \"plain\"", protocol, resp.Status, body)
		}
		if upgrade.Load() != "" || settings.Load() != "" || strings.Contains(connection.Load().(string), "pgrade") {
			t.Errorf("%s: the backend got Upgrade %q, HTTP2-Settings %q, Connection %q", protocol, upgrade.Load(), settings.Load(), connection.Load())
		}
	}
}

// TestARequestThatAsksForH2CIsRetriedLikeAnyOther: Java's HttpClient asks for h2c in every request.
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
		t.Errorf("got %s, want 200", resp.Status)
	}
}

func TestOtherProtocolsAreForwarded(t *testing.T) {
	for protocol, request := range map[string]string{
		"websocket":       "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket, h2c\n\n",
		"WebSocket":       "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: h2c, WebSocket\n\n",
		"tcp":             "POST /exec/1/start HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: tcp\nContent-Type: application/json\nContent-Length: 29\n\n{\"Detach\":false,\"Tty\":false}\n",
		"custom/2, other": "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: custom/2, other\n\n",
	} {
		var upgrade, body atomic.Value
		b := newWireBackend(t, func(conn net.Conn, r *http.Request, rest *bufio.Reader) {
			text, _ := io.ReadAll(r.Body)
			body.Store(string(text))
			upgrade.Store(r.Header.Get("Upgrade"))
			first, _, _ := strings.Cut(r.Header.Get("Upgrade"), ",")
			_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: "+first+"\r\n\r\nahead ")
			_, _ = io.Copy(conn, rest)
		})
		s := b.serveSite(t, new(site), "edge_proxy api:80")
		conn := s.dial(t)
		text := strings.Replace(request, "}\n", "}", 1)
		if head, rest, ok := strings.Cut(text, "\n\n"); ok {
			writeRequest(t, conn, head+"\n\n")
			if protocol == "tcp" {
				rest += "\n" // 29 bytes
			}
			if _, err := io.WriteString(conn, rest); err != nil {
				t.Fatal(err)
			}
		}
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s: got %v, %v; want 101", protocol, resp, err)
			continue
		}
		if _, err := io.WriteString(conn, "echo"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("ahead echo"))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != "ahead echo" {
			t.Errorf("%s: got %q, %v", protocol, got, err)
		}
		if !strings.EqualFold(upgrade.Load().(string), protocol) {
			t.Errorf("%s: the backend got Upgrade %q", protocol, upgrade.Load())
		}
		if want := map[bool]string{true: "{\"Detach\":false,\"Tty\":false}\n"}[protocol == "tcp"]; body.Load() != want {
			t.Errorf("%s: the backend got the body %q", protocol, body.Load())
		}
		conn.Close()
	}
}

func TestAnUnrequestedProtocolSwitchIs502(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		for _, headers := range []string{"", "Connection: Upgrade\nUpgrade: other\n"} {
			b := newCannedBackend(t, "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\n")
			s := b.serveSite(t, new(site), "edge_proxy api:80")
			before := edge.Snapshot()[0].Lost
			conn := s.dial(t)
			writeRequest(t, conn, method+" / HTTP/1.1\nHost: a\n"+headers+"Content-Length: 0\n\n")
			if resp, _ := readResponse(t, conn); resp.StatusCode != http.StatusBadGateway {
				t.Errorf("%s, %q: got %s, want 502", method, headers, resp.Status)
			}
			lost := edge.Snapshot()[0].Lost
			if unknown := lost.Unknown - before.Unknown; unknown != map[string]uint64{"GET": 0, "POST": 1}[method] {
				t.Errorf("%s: got %d requests of unknown outcome", method, unknown)
			}
			if b.requests.Load() != 1 {
				t.Errorf("%s, %q: the backend got %d requests, want 1", method, headers, b.requests.Load())
			}
			stopCaddy(t)
		}
	}
}
