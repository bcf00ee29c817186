// Package swarm has three Docker Engines in one Swarm, with an edge and a stock Caddy on each, in front of the same service: tasks are replaced,
// nodes are drained and cut off, and the manager freezes, while clients send requests.
package swarm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const (
	edgeImage    = "edge:dev"
	caddyImage   = "edge-test/caddy:test"
	backendImage = "edge-test/generic:test"
)

// cluster is the Swarm of all tests. Its second and third nodes are workers.
var cluster *harness.Swarm

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:      "tests/swarm",
		Requires: []harness.Requirement{harness.Docker, harness.IPRoute, harness.Images(edgeImage, caddyImage, backendImage), harness.Images(stackImages...)},
		Setup: func(string) (err error) {
			if cluster, err = harness.StartSwarm(context.Background(), 3, edgeImage, caddyImage, backendImage); err != nil {
				return err
			}
			return startProxies(context.Background())
		},
		Teardown: func(isFailed bool) error {
			if cluster == nil {
				return nil
			}
			if isFailed {
				printLogs()
			}
			return cluster.Remove()
		},
	})
}

// rounds returns how often a test repeats what it does: once, or as often as the environment says.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("EDGE_TEST_ROUNDS"))
	if os.Getenv("EDGE_TEST_ROUNDS") == "" {
		return 1
	}
	if err != nil || n < 1 {
		t.Fatalf("EDGE_TEST_ROUNDS=%s: want a number", os.Getenv("EDGE_TEST_ROUNDS"))
	}
	return n
}

// docker runs the docker command on the manager.
func docker(ctx context.Context, args ...string) (string, error) {
	return cluster.Manager().Docker(ctx, args...)
}

func mustDocker(t *testing.T, args ...string) {
	t.Helper()
	if _, err := docker(context.Background(), args...); err != nil {
		t.Fatal(err)
	}
}

// The ports of the proxies on each node.
const (
	edgePort  = "8080"
	caddyPort = "8081"
)

// startProxies starts the guard on the manager, and an edge and a Caddy on each node.
func startProxies(ctx context.Context) error {
	proxies, err := filepath.Abs("proxies")
	if err != nil {
		return err
	}
	global := func(port string, args ...string) []string {
		return append([]string{
			"service", "create", "--detach", "--quiet", "--mode", "global", "--network", "lab", "--no-healthcheck",
			"--publish", "mode=host,published=" + port + ",target=8080",
		}, args...)
	}
	for _, args := range [][]string{
		{"network", "create", "--driver", "overlay", "lab"},
		{"network", "create", "--driver", "overlay", "--internal", "guard"},
		{"config", "create", "edge.Caddyfile", filepath.Join(proxies, "edge.Caddyfile")},
		{"config", "create", "caddy.Caddyfile", filepath.Join(proxies, "caddy.Caddyfile")},
		{
			"service", "create", "--detach", "--quiet", "--name", "docker-guard", "--network", "guard", "--endpoint-mode", "dnsrr", "--no-healthcheck",
			"--mode", "global", "--constraint", "node.role == manager", "--user", "0:0", "--read-only", "--cap-drop", "ALL",
			"--mount", "type=bind,source=" + harness.SwarmSocket + ",target=/var/run/docker.sock,readonly", edgeImage, "guard", "--swarm",
		},
		global(edgePort, "--name", "edge", "--network", "guard", "--config", "source=edge.Caddyfile,target=/etc/edge/lab.Caddyfile",
			edgeImage, "run", "--config", "/etc/edge/lab.Caddyfile"),
		global(caddyPort, "--name", "caddy", "--config", "source=caddy.Caddyfile,target=/etc/caddy/Caddyfile", caddyImage),
	} {
		if _, err := docker(ctx, args...); err != nil {
			return err
		}
	}
	return errors.Join(
		cluster.EventuallyReplicas(ctx, "docker-guard", 1), cluster.EventuallyReplicas(ctx, "edge", len(cluster.Nodes)),
		cluster.EventuallyReplicas(ctx, "caddy", len(cluster.Nodes)),
	)
}

// printLogs prints what the guard and the edges logged.
func printLogs() {
	for _, service := range []string{"docker-guard", "edge"} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		out, err := docker(ctx, "service", "logs", "--tail", "40", service)
		cancel()
		_, _ = os.Stderr.WriteString("the last lines of " + service + ":\n" + out + "\n")
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
		}
	}
}
