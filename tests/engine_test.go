package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// newEngine starts a Docker Engine of its own for a test, and runs a container `api` there.
func newEngine(t *testing.T, flags ...string) *harness.Engine {
	t.Helper()
	e, err := harness.StartEngine(t.Context(), "edge-test/generic:test", flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Remove(); err != nil {
			t.Error(err)
		}
	})
	runAPI(t, e)
	return e
}

// runAPI runs the container `api` with the restart policy always.
func runAPI(t *testing.T, e *harness.Engine) {
	t.Helper()
	_, err := e.Docker(t.Context(), "run", "--detach", "--restart", "always", "--network", "lab", "--name", "api", "edge-test/generic:test")
	if err != nil {
		t.Fatal(err)
	}
}

// startEdgeBeside runs an edge in front of api:8080 of a Docker Engine, and returns a client of the edge.
func startEdgeBeside(t *testing.T, e *harness.Engine) *http.Client {
	t.Helper()
	socket := filepath.Join(e.Dir, "e.sock")
	edge, err := e.StartEdge(harness.Edge(t), fmt.Sprintf(`{
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
`, e.Socket, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := edge.Stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the edge's log:\n%s", edge.Output())
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
	t.Parallel() // with TestSlowResponseIsNotCutOff, which waits
	e := newEngine(t, "--live-restore")
	client := startEdgeBeside(t, e)
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	for _, c := range []struct {
		name     string
		down, up func() error
	}{
		{"killed and started", func() error { return e.Stop(syscall.SIGKILL) }, func() error { return e.Start(t.Context()) }},
		{"stopped and started", func() error { return e.Stop(syscall.SIGTERM) }, func() error { return e.Start(t.Context()) }},
		{"hung and resumed", func() error { return e.Signal(syscall.SIGSTOP) }, func() error { return e.Signal(syscall.SIGCONT) }},
	} {
		if err := c.down(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline); <-time.After(50 * time.Millisecond) {
			if got := getStatus(client, time.Second); got != 200 {
				t.Fatalf("%s: status %d while the Docker Engine is down", c.name, got)
			}
		}
		if err := c.up(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Docker(t.Context(), "rm", "--force", "api"); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, c.name+": the edge does not use the removed container", func() bool { return getStatus(client, time.Second) != 200 })
		runAPI(t, e)
		harness.Eventually(t, c.name+": the edge uses the new container", func() bool { return getStatus(client, time.Second) == 200 })
	}
}

// TestRequestsAreHeldUntilEngineAndContainersReturn: without --live-restore, containers stop with the Docker Engine.
func TestRequestsAreHeldUntilEngineAndContainersReturn(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which waits
	e := newEngine(t)
	client := startEdgeBeside(t, e)
	harness.Eventually(t, "the container is served", func() bool { return getStatus(client, time.Second) == 200 })
	if err := e.Stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	held := make(chan int)
	go func() { held <- getStatus(client, 40*time.Second) }()
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-held; got != 200 {
		t.Errorf("a request that came while both were down gets %d, want 200", got)
	}
}
