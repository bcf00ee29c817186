// Package systemd installs the edge as docs/install-on-a-host.md says, with the shipped units, on a Debian whose systemd runs in a container,
// and has systemd restart it while clients send requests.
package systemd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:      "tests/systemd",
		Requires: []harness.Requirement{harness.Docker, harness.Images("edge-test/systemd:test")},
	})
}

// host is a Debian with systemd.
type host struct {
	t           *testing.T
	container   string
	http, https string // ports on loopback
}

// newHost starts a host, and installs the edge on it: the program, the user, a configuration with one service, and the units.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, http: testport.Port(t), https: testport.Port(t)}
	args := []string{
		// What systemd needs, but not all that --privileged stands for: Docker refuses that where the machine itself lacks a capability.
		"run", "--detach", "--tty", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
		"--tmpfs", "/run", "--tmpfs", "/tmp", "--env", "container=docker",
		"--publish", "127.0.0.1:" + h.http + ":80", "--publish", "127.0.0.1:" + h.https + ":443", "--publish", "127.0.0.1:" + h.https + ":443/udp",
	}
	if _, err := os.Stat("/sys/fs/cgroup/systemd"); err == nil { // cgroup v1: systemd needs a hierarchy of its own
		args = append(args, "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw")
	}
	h.container = harness.MustDocker(t, append(args, "edge-test/systemd:test")...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the journal:\n%s", h.mustRun("journalctl", "--no-pager", "--lines", "200", "--output", "short-precise"))
		}
		harness.MustDocker(t, "rm", "--force", "--volumes", h.container)
	})
	harness.EventuallyWithin(t, time.Minute, "systemd is running", func() bool {
		out, _ := h.run("systemctl", "is-system-running")
		return out == "running" || out == "degraded"
	})

	h.mustRun("useradd", "--system", "--user-group", "--home-dir", "/var/lib/edge", "--no-create-home", "--shell", "/usr/sbin/nologin", "edge")
	h.mustRun("mkdir", "/etc/edge")
	deploy := filepath.Join(harness.Root(), "deploy")
	h.copy(harness.Edge(t), "/usr/local/bin/edge")
	h.copy(filepath.Join(deploy, "edge.service"), "/etc/systemd/system/edge.service")
	h.copy(filepath.Join(deploy, "edge.socket"), "/etc/systemd/system/edge.socket")
	h.write("/etc/edge/edge.env", "DOMAIN=localhost\n")
	h.configure(`respond /configuration one`)
	h.mustRun("systemctl", "daemon-reload")
	return h
}

// configure writes a Caddyfile with a service, and some lines more for its site.
func (h *host) configure(lines string) {
	h.t.Helper()
	h.write("/etc/edge/Caddyfile", fmt.Sprintf(`{
	admin unix//run/edge/admin.sock
	persist_config off
	skip_install_trust
	local_certs
	auto_https disable_redirects
	grace_period 20s
	servers {
		listener_wrappers {
			keep_connections
		}
	}
	edge {
		static app:80 %s
		close_window 2s
		hold 10s
	}
}
http://{$DOMAIN}, https://{$DOMAIN} {
	%s
	sanitize_request
	edge_proxy app:80
}
`, backend(h.t), lines))
}

// backend starts an application on Docker's bridge, where the host reaches it, and returns its address. There is one for each test.
func backend(t *testing.T) string {
	t.Helper()
	gateway, err := harness.BridgeGateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "done")
	}))
	_ = app.Listener.Close()
	app.Listener = ln
	app.Start()
	t.Cleanup(app.Close)
	return ln.Addr().String()
}

// run runs a command on the host, and returns what it printed to stdout.
func (h *host) run(command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // also in cleanups
	defer cancel()
	return harness.RunDocker(ctx, append([]string{"exec", h.container}, command...)...)
}

func (h *host) mustRun(command ...string) string {
	h.t.Helper()
	out, err := h.run(command...)
	if err != nil {
		h.t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return out
}

func (h *host) copy(file, to string) {
	h.t.Helper()
	harness.MustDocker(h.t, "cp", file, h.container+":"+to)
}

func (h *host) write(to, content string) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.copy(file, to)
}

func (h *host) url(kind clients.Kind) string {
	if kind.IsSecure {
		return "https://localhost:" + h.https
	}
	return "http://localhost:" + h.http
}

// waitServing waits until requests of all kinds succeed.
func (h *host) waitServing() {
	h.t.Helper()
	for _, kind := range clients.All("localhost") {
		client := kind.New(5 * time.Second)
		harness.EventuallyWithin(h.t, time.Minute, kind.Name+" works", func() bool {
			_, err := clients.Send(client, http.MethodGet, h.url(kind))
			return err == nil
		})
		client.CloseIdleConnections()
	}
}

func (h *host) startLoad(except ...string) *clients.Load {
	return clients.StartLoad(h.t, "localhost", func(k clients.Kind) string { return h.url(k) + "/" }, except...)
}
