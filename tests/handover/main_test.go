// Package handover replaces edges that get their sockets from a gate, on this machine without Docker, while clients send requests.
package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/modules/edge"
	"github.com/theworklabs/edge/modules/listeners"
	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{Dir: "tests/handover"})
}

// lab is a gate, a backend, and the edges that a test starts.
type lab struct {
	t            *testing.T
	dir          string
	http, https  string // ports
	backend      *backend
	resolver     string
	gate         *harness.Process
	edgesStarted int
}

// backend is an application that counts what it gets.
type backend struct {
	*httptest.Server

	mu   sync.Mutex
	seen map[string]int // by path and query
}

func newBackend(t *testing.T) *backend {
	b := &backend{seen: make(map[string]int)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		b.mu.Lock()
		b.seen[r.URL.String()]++
		b.mu.Unlock()
		if d, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
			time.Sleep(d)
		}
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(b.Close)
	return b
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), backend: newBackend(t), resolver: startResolver(t)}
	for _, port := range []*string{&l.http, &l.https} {
		var err error
		if *port, err = testport.Reserve(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(l.dir, "gate"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.startGate()
	return l
}

func (l *lab) socket() string { return filepath.Join(l.dir, "gate", "gate.sock") }

func (l *lab) startGate() {
	l.t.Helper()
	l.gate = harness.StartProcess(l.t, exec.Command(harness.Edge(l.t), "gate", "--socket", l.socket(),
		"--listen", fmt.Sprintf(":%s,:%s,udp/:%s", l.http, l.https, l.https)))
	l.gate.WaitForLog(l.t, 10*time.Second, "the gate is open")
}

// edgeProcess is a running edge.
type edgeProcess struct {
	*harness.Process
	t     *testing.T
	admin *http.Client
}

// startEdge starts an edge with the sockets of the gate. All edges of a lab have one storage.
func (l *lab) startEdge() *edgeProcess {
	l.t.Helper()
	return l.start(func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Env = append(cmd.Env, "EDGE_GATE="+l.socket())
		return cmd
	})
}

// startActivated starts an edge with the sockets that systemd would pass to it.
func (l *lab) startActivated(sockets []*os.File) *edgeProcess {
	l.t.Helper()
	return l.start(func(cmd *exec.Cmd) *exec.Cmd {
		shell := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)...)
		shell.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)))
		shell.ExtraFiles = sockets
		return shell
	})
}

// start starts an edge with the command that change returns.
func (l *lab) start(change func(*exec.Cmd) *exec.Cmd) *edgeProcess {
	l.t.Helper()
	l.edgesStarted++
	admin := filepath.Join(l.dir, fmt.Sprintf("admin%d.sock", l.edgesStarted))
	config := filepath.Join(l.dir, fmt.Sprintf("Caddyfile%d", l.edgesStarted))
	if err := os.WriteFile(config, []byte(l.caddyfile(admin)), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(harness.Edge(l.t), "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+l.dir, "XDG_DATA_HOME="+l.dir, "XDG_CONFIG_HOME="+l.dir)
	return &edgeProcess{Process: harness.StartProcess(l.t, change(cmd)), t: l.t, admin: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin)
		},
		DisableKeepAlives: true,
	}}}
}

// caddyfile returns the configuration of an edge with a socket for its admin API.
func (l *lab) caddyfile(admin string) string {
	return fmt.Sprintf(`{
	admin unix/%s
	persist_config off
	skip_install_trust
	local_certs
	auto_https disable_redirects
	http_port %s
	https_port %s
	grace_period 10s
	servers {
		listener_wrappers {
			keep_connections
		}
	}
	edge {
		static app:80 %s
		resolver %s
		close_window 2s
		hold 5s
	}
}
http://localhost, https://localhost {
	sanitize_request
	edge_proxy app:80
}
`, admin, l.http, l.https, l.backend.Listener.Addr(), l.resolver)
}

// startResolver starts a DNS server that knows no name, and returns its address.
func startResolver(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if n >= 12 {
				packet[2], packet[3] = packet[2]|0x80, 0x83 // a response: NXDOMAIN
				_, _ = conn.WriteTo(packet[:n], from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// status asks the edge what it does with its sockets.
func (e *edgeProcess) status() (s edge.HandoverStatus, err error) {
	resp, err := e.admin.Get("http://localhost/edge/handover")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// waitState waits until the edge is in a state.
func (e *edgeProcess) waitState(state string) {
	e.t.Helper()
	harness.EventuallyWithin(e.t, 30*time.Second, "an edge is "+state, func() bool {
		s, err := e.status()
		return err == nil && s.State == state
	})
}

// waitServing waits until the edge serves, and has its certificate.
func (l *lab) waitServing(e *edgeProcess) {
	l.t.Helper()
	e.waitState(listeners.StateServing)
	for _, kind := range clients.All("localhost") {
		client := kind.New(5 * time.Second)
		harness.EventuallyWithin(l.t, 30*time.Second, kind.Name+" works", func() bool {
			_, err := clients.Send(client, http.MethodGet, l.url(kind))
			return err == nil
		})
		client.CloseIdleConnections()
	}
}

func (l *lab) url(kind clients.Kind) string {
	if kind.IsSecure {
		return "https://localhost:" + l.https
	}
	return "http://localhost:" + l.http
}

// act posts an action, and returns the status of the response.
func (e *edgeProcess) act(action string) int {
	e.t.Helper()
	resp, err := e.admin.Post("http://localhost/edge/handover", "application/json", strings.NewReader(`{"action": "`+action+`"}`))
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (e *edgeProcess) stop(s syscall.Signal) {
	e.t.Helper()
	if err := e.Stop(s); err != nil {
		e.t.Error(err)
	}
}

// startLoad starts 5 clients of each kind: 200 requests a second, GET and POST in turn.
func (l *lab) startLoad(except ...string) *clients.Load {
	return clients.StartLoad(l.t, "localhost", func(k clients.Kind) string { return l.url(k) + "/" }, except...)
}
