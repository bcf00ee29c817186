package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// engine is a Docker Engine of the test's own, in a network namespace of its own, so that the one of the machine, its
// bridges and its firewall rules are left alone.
type engine struct {
	t      *testing.T
	netns  string // the network namespace
	dir    string
	socket string
	flags  []string
	cmd    *exec.Cmd
}

// newEngine starts an Engine with the generic image, a network `lab`, and a container `api` that restarts by itself.
func newEngine(t *testing.T, flags ...string) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test starts a Docker Engine of its own, which takes root: run it as root")
	}
	dir, err := os.MkdirTemp("/tmp", "ee-") // short: the paths of its sockets have a limit
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, dir: dir, netns: filepath.Base(dir), socket: filepath.Join(dir, "d.sock"), flags: flags}
	t.Cleanup(func() { os.RemoveAll(dir) })
	mustRun(t, "ip", "netns", "add", e.netns)
	t.Cleanup(func() { mustRun(t, "ip", "netns", "delete", e.netns) })
	mustRun(t, "ip", "-netns", e.netns, "link", "set", "lo", "up")
	e.start()
	t.Cleanup(e.remove)
	image := filepath.Join(dir, "image.tar")
	harness.MustDocker(t, "save", "--output", image, "edge-test/generic:test")
	e.docker("load", "--quiet", "--input", image)
	e.docker("network", "create", "lab")
	e.docker("run", "--detach", "--restart", "always", "--network", "lab", "--name", "api", "edge-test/generic:test")
	return e
}

// start starts dockerd and waits until it answers.
func (e *engine) start() {
	e.t.Helper()
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	e.cmd = e.commandInNetns("dockerd", append([]string{
		"--host", "unix://" + e.socket, "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"),
	}, e.flags...)...)
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	harness.Eventually(e.t, "dockerd answers", func() bool {
		return exec.Command("docker", "--host", "unix://"+e.socket, "info").Run() == nil
	})
}

// commandInNetns returns a command that runs in the Engine's network namespace, and in no other of its own: `ip netns exec`
// would hide the cgroups. nsenter becomes the command, so that a signal goes to it.
func (e *engine) commandInNetns(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + e.netns, name}, args...)...)
}

// mustRun runs a command that must not fail.
func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// signal sends a signal to dockerd; with one that ends it, stop waits until it is gone.
func (e *engine) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

func (e *engine) stop(s syscall.Signal) {
	e.t.Helper()
	e.signal(s)
	_ = e.cmd.Wait() // its exit status is that of a killed process
	os.Remove(filepath.Join(e.dir, "pid"))
}

func (e *engine) docker(args ...string) string {
	e.t.Helper()
	return harness.MustDocker(e.t, append([]string{"--host", "unix://" + e.socket}, args...)...)
}

// remove takes down all that the Engine made outside of its directory.
func (e *engine) remove() {
	for _, id := range strings.Fields(e.docker("ps", "--all", "--quiet")) {
		e.docker("rm", "--force", id)
	}
	e.docker("network", "rm", "lab")
	e.stop(syscall.SIGTERM)
}

// startEdge runs an edge as a process beside the Engine, in front of its api:8080, and returns a client of it. The edge listens
// on a unix socket, which can be reached from every network namespace.
func (e *engine) startEdge() *http.Client {
	t := e.t
	t.Helper()
	config, socket := filepath.Join(e.dir, "Caddyfile"), filepath.Join(e.dir, "e.sock")
	text := fmt.Sprintf(`{
	admin off
	auto_https off
	grace_period 1s
	edge {
		endpoint unix://%s
		resolver 127.0.0.1:1
		hold 40s
	}
}

http:// {
	bind unix/%s
	edge_proxy api:8080 {
		probe {
			uri /
		}
	}
}
`, e.socket, socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(e.dir, "edge.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := e.commandInNetns(harness.Edge(t), "run", "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			lines, err := os.ReadFile(log.Name())
			t.Logf("the edge's log (%v):\n%s", err, lines)
		}
	})
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// getStatus asks the edge; 0 means that there was no answer.
func getStatus(client *http.Client, within time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge/", nil)
	if err != nil {
		return 0
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestRequestsAreServedWhileTheEngineIsDown: containers that outlive it are served throughout, and what happens after it is back
// is seen.
func TestRequestsAreServedWhileTheEngineIsDown(t *testing.T) {
	t.Parallel() // with the one that waits for 130 s
	e := newEngine(t, "--live-restore")
	client := e.startEdge()
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	for _, how := range []struct {
		name       string
		away, back func()
	}{
		{"killed and started", func() { e.stop(syscall.SIGKILL) }, e.start},
		{"stopped and started", func() { e.stop(syscall.SIGTERM) }, e.start},
		{"hung, and going on", func() { e.signal(syscall.SIGSTOP) }, func() { e.signal(syscall.SIGCONT) }},
	} {
		how.away()
		for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
			if got := getStatus(client, time.Second); got != 200 {
				t.Fatalf("%s: status %d while the Engine was away", how.name, got)
			}
		}
		how.back()
		e.docker("rm", "--force", "api")
		harness.Eventually(t, how.name+": that the container went is seen", func() bool { return getStatus(client, time.Second) != 200 })
		e.docker("run", "--detach", "--restart", "always", "--network", "lab", "--name", "api", "edge-test/generic:test")
		harness.Eventually(t, how.name+": that another came is seen", func() bool { return getStatus(client, time.Second) == 200 })
	}
}

// TestRequestsAreHeldUntilEngineAndContainersReturn: requests are held until both are back.
func TestRequestsAreHeldUntilEngineAndContainersReturn(t *testing.T) {
	t.Parallel() // with the one that waits for 130 s
	e := newEngine(t)
	client := e.startEdge()
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	e.stop(syscall.SIGTERM)
	held := make(chan int)
	go func() { held <- getStatus(client, 40*time.Second) }()
	e.start()
	if got := <-held; got != 200 {
		t.Errorf("the request that came while both were away got %d", got)
	}
}
