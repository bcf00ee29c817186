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

// engine is a second Docker Engine. It runs in a network namespace of its own, so that it does not change the machine's Docker
// Engine, bridges and firewall rules.
type engine struct {
	t      *testing.T
	netns  string // the network namespace
	dir    string
	socket string
	flags  []string
	cmd    *exec.Cmd
}

// newEngine starts a Docker Engine with the generic image, a network `lab`, and a container `api` with the restart policy always.
func newEngine(t *testing.T, flags ...string) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test starts a second Docker Engine: run it as root")
	}
	dir, err := os.MkdirTemp("/tmp", "ee-") // short, because the length of socket paths is limited
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

// commandInNetns returns a command that runs in the Docker Engine's network namespace. `ip netns exec` would hide the cgroups.
// nsenter replaces itself by the command, so that the command gets signals.
func (e *engine) commandInNetns(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + e.netns, name}, args...)...)
}

// mustRun runs a command and fails the test on an error.
func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// signal sends a signal to dockerd.
func (e *engine) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

// stop sends a signal that ends dockerd, and waits until dockerd has ended.
func (e *engine) stop(s syscall.Signal) {
	e.t.Helper()
	e.signal(s)
	_ = e.cmd.Wait() // the error is that of a killed process
	os.Remove(filepath.Join(e.dir, "pid"))
}

func (e *engine) docker(args ...string) string {
	e.t.Helper()
	return harness.MustDocker(e.t, append([]string{"--host", "unix://" + e.socket}, args...)...)
}

// remove removes what the Docker Engine has made outside of its directory, and stops it.
func (e *engine) remove() {
	for _, id := range strings.Fields(e.docker("ps", "--all", "--quiet")) {
		e.docker("rm", "--force", id)
	}
	e.docker("network", "rm", "lab")
	e.stop(syscall.SIGTERM)
}

// startEdge runs an edge in the Docker Engine's network namespace, in front of api:8080, and returns a client of the edge. The edge
// listens on a unix socket, which processes in every network namespace can reach.
func (e *engine) startEdge() *http.Client {
	t := e.t
	t.Helper()
	config, socket := filepath.Join(e.dir, "Caddyfile"), filepath.Join(e.dir, "e.sock")
	text := fmt.Sprintf(`{
	admin off
	auto_https off
	grace_period 1s
	edge {
		docker_host unix://%s
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

// getStatus makes a request to the edge and returns the status; 0 if there is no answer within a time.
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

// TestRequestsAreServedWhileTheEngineIsDown: containers outlive the Docker Engine. The edge serves them all the time, and sees
// changes after the Docker Engine is back.
func TestRequestsAreServedWhileTheEngineIsDown(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which takes 130 s
	e := newEngine(t, "--live-restore")
	client := e.startEdge()
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	for _, c := range []struct {
		name     string
		down, up func()
	}{
		{"killed and started", func() { e.stop(syscall.SIGKILL) }, e.start},
		{"stopped and started", func() { e.stop(syscall.SIGTERM) }, e.start},
		{"hung and resumed", func() { e.signal(syscall.SIGSTOP) }, func() { e.signal(syscall.SIGCONT) }},
	} {
		c.down()
		for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
			if got := getStatus(client, time.Second); got != 200 {
				t.Fatalf("%s: status %d while the Docker Engine is down", c.name, got)
			}
		}
		c.up()
		e.docker("rm", "--force", "api")
		harness.Eventually(t, c.name+": the edge does not use the removed container", func() bool { return getStatus(client, time.Second) != 200 })
		e.docker("run", "--detach", "--restart", "always", "--network", "lab", "--name", "api", "edge-test/generic:test")
		harness.Eventually(t, c.name+": the edge uses the new container", func() bool { return getStatus(client, time.Second) == 200 })
	}
}

// TestRequestsAreHeldUntilEngineAndContainersReturn: without --live-restore, containers stop with the Docker Engine.
func TestRequestsAreHeldUntilEngineAndContainersReturn(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which takes 130 s
	e := newEngine(t)
	client := e.startEdge()
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	e.stop(syscall.SIGTERM)
	held := make(chan int)
	go func() { held <- getStatus(client, 40*time.Second) }()
	e.start()
	if got := <-held; got != 200 {
		t.Errorf("a request that came while both were down gets %d, want 200", got)
	}
}
