package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/modules/edge"
)

// newWebSocketEcho returns a backend that echoes WebSocket messages. It refuses the upgrade of /rejected with 401.
func newWebSocketEcho(t *testing.T) *backend {
	t.Helper()
	return newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/rejected" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}).start(t)
}

// openWebSocket opens a WebSocket through the site.
func (s *site) openWebSocket(t *testing.T) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.url+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// wantEcho checks that a message comes back.
func wantEcho(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
}

// awaitCloseCode waits until the other side closes the socket, and returns the close code.
func awaitCloseCode(t *testing.T, conn *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := conn.Read(ctx)
	return websocket.CloseStatus(err)
}

func TestAReloadKeepsWebSocketsOpen(t *testing.T) {
	a := newWebSocketEcho(t)
	s := serveReady(t, "edge_proxy api:80", a.address)
	conn := s.openWebSocket(t)
	for i := range 5 {
		s.load(t, fmt.Sprintf("header X-Load %d\nedge_proxy api:80 {\n hold %ds\n}", i, 50+i))
		wantEcho(t, conn)
	}
	if status := edge.Snapshot()[0]; status.Sockets != 1 || status.InFlight != 0 || status.Traffic.FromClients == 0 {
		t.Errorf("got %d sockets, %d requests in flight, %+v; want 1 socket, 0 requests and traffic", status.Sockets, status.InFlight, status.Traffic)
	}
}

func TestADrainClosesWebSocketsWithGoingAway(t *testing.T) {
	a := newWebSocketEcho(t)
	s := serveReady(t, "edge_proxy api:80 {\n close_window 100ms\n}", a.address)
	conn := s.openWebSocket(t)
	wantEcho(t, conn)
	drainEndpoint(t, a.address)
	if code := awaitCloseCode(t, conn); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
}

func TestAWebSocketIsLoggedWhenItEnds(t *testing.T) {
	a := newWebSocketEcho(t)
	file := filepath.Join(t.TempDir(), "access.log")
	directives := "log {\n output file " + file + "\n level INFO\n}\nencode\nedge_proxy api:80"
	s := serveReady(t, directives, a.address)
	conn := s.openWebSocket(t)
	wantEcho(t, conn)
	s.load(t, "header X-Other 1\n"+directives) // the configuration of its request is replaced before it is closed
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Fatal(err)
	}
	line := awaitLogLine(t, file)
	for field, want := range map[string]any{
		"logger": "http.log.access.log0", "msg": "handled request", "status": 101.0, "service": "api:80", "endpoint": a.address,
		"closed_by": "client", "close_reason": "close frame",
	} {
		if line[field] != want {
			t.Errorf("%s: got %v, want %v", field, line[field], want)
		}
	}
	if line["bytes_read"].(float64) < 11 || line["size"].(float64) < 7 || line["duration"].(float64) <= 0 {
		t.Errorf("got %v bytes read, %v sent, in %v s; want at least 11, 7 and more than 0", line["bytes_read"], line["size"], line["duration"])
	}
	request := line["request"].(map[string]any)
	if request["uri"] != "/live" || request["method"] != "GET" || request["client_ip"] != "127.0.0.1" || request["host"] != "127.0.0.1:"+s.port {
		t.Errorf("got the request %v", request)
	}
}

// awaitLogLine waits for the only line of a log.
func awaitLogLine(t *testing.T, file string) (line map[string]any) {
	t.Helper()
	var lines []string
	eventually(t, func() bool {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		return lines[0] != ""
	}, file+" is empty")
	if len(lines) != 1 {
		t.Errorf("got %d lines, want one for the socket:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	return line
}

func TestLogSkipAppliesToWebSockets(t *testing.T) {
	a := newWebSocketEcho(t)
	file := filepath.Join(t.TempDir(), "access.log")
	s := serveReady(t, "log {\n output file "+file+"\n level INFO\n}\nlog_skip /live\nedge_proxy api:80", a.address)
	if err := s.openWebSocket(t).Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	s.eventuallyResponds(t, "/other", "") // it is logged after the socket
	if line := awaitLogLine(t, file); line["request"].(map[string]any)["uri"] != "/other" {
		t.Errorf("got the log entry %v, want that of /other", line)
	}
}

// newHijackingBackend returns a backend that hijacks its connections and switches to a protocol, whatever the request asks for.
func newHijackingBackend(t *testing.T, protocol string, then func(conn net.Conn, buffered *bufio.ReadWriter)) *backend {
	t.Helper()
	return newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\nX-App: 1\r\n\r\nfirst bytes;")
		then(conn, buffered)
	}).start(t)
}

func TestBytesSentRightAfterTheHandshakeArrive(t *testing.T) {
	a := newHijackingBackend(t, "talk", func(conn net.Conn, buffered *bufio.ReadWriter) {
		early := make([]byte, len("early"))
		if _, err := io.ReadFull(buffered, early); err == nil {
			fmt.Fprintf(conn, " got %s", early)
		}
	})
	s := serveReady(t, "edge_proxy api:80", a.address)
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\nearly")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-App") != "1" || resp.Header.Get("Upgrade") != "talk" {
		t.Fatalf("%+v %v", resp, err)
	}
	if text, err := io.ReadAll(reader); err != nil || string(text) != "first bytes; got early" {
		t.Errorf("%q %v", text, err)
	}
}

func TestASwitchToADifferentProtocolIs502(t *testing.T) {
	closed := make(chan struct{})
	a := newHijackingBackend(t, "smuggle", func(conn net.Conn, _ *bufio.ReadWriter) {
		_, _ = io.Copy(io.Discard, conn)
		close(closed)
	})
	s := serveReady(t, "edge_proxy api:80", a.address)
	_, resp, err := websocket.Dial(t.Context(), s.url, nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusBadGateway {
		t.Errorf("%v %v", resp, err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection to the backend is still open")
	}
}

func TestASilentWebSocketIsClosedAfterTheIdleTimeout(t *testing.T) {
	a := newWebSocketEcho(t)
	s := serveReady(t, "edge_proxy api:80 {\n timeouts {\n idle 100ms\n }\n}", a.address)
	conn := s.openWebSocket(t)
	wantEcho(t, conn)
	if code := awaitCloseCode(t, conn); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
}

func TestAWebSocketPassesOverTLS(t *testing.T) {
	a := newWebSocketEcho(t)
	s := serveReady(t, "tls internal {\n on_demand\n}\nlog\nencode\nedge_proxy api:80", a.address)
	s.url = "https://127.0.0.1:" + s.port
	conn := s.openSecureWebSocket(t)
	for range 10 {
		wantEcho(t, conn)
	}
}

// openSecureWebSocket opens a WebSocket through the site over TLS, without verifying the certificate.
func (s *site) openSecureWebSocket(t *testing.T) *websocket.Conn {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}}
	conn, _, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}
