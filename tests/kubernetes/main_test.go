// Package kubernetes has a Kubernetes cluster of one node, with two edges in front of a Deployment: its pods are replaced, the API server freezes or
// restarts, and the edges themselves are replaced, while clients send requests. And it has the API server check the shipped manifests.
//
// It is not part of `make test`, because its programs take a quarter of an hour to build: make test-kubernetes.
package kubernetes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const (
	edgeImage    = "edge:dev"
	backendImage = "edge-test/generic:test"
	manifests    = "../../deploy/kubernetes"
)

// cluster has the shipped edges, in the namespace lab.
var cluster *harness.Kubernetes

func TestMain(m *testing.M) {
	programs, err := filepath.Abs("../../.tools/kubernetes")
	if err != nil {
		panic(err)
	}
	harness.Main(m, harness.Suite{
		Dir: "tests/kubernetes",
		Requires: []harness.Requirement{
			harness.Docker, harness.IPRoute, harness.Images(edgeImage, backendImage, "edge-test/base:test"),
			{"containerd", "--version"},
			{"test", "-x", "/usr/lib/cni/bridge"},
			{filepath.Join(programs, "kube-proxy"), "--version"},
		},
		Setup: func(dir string) (err error) {
			if cluster, err = harness.StartKubernetes(context.Background(), programs, edgeImage, backendImage); err != nil {
				return err
			}
			return startEdges(context.Background(), dir)
		},
		Teardown: func(isFailed bool) error {
			if cluster == nil {
				return nil
			}
			if isFailed {
				printState()
			}
			return cluster.Remove()
		},
	})
}

// rounds returns how often a test repeats what it does: twice, or as often as the environment says.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("EDGE_TEST_ROUNDS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EDGE_TEST_ROUNDS=%s: want a number", text)
	}
	return n
}

func mustKubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := cluster.Kubectl(context.Background(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// startEdges applies edge.yaml and edge-access.yaml of the shipped manifests, with files instead of PostgreSQL for certificates, of which the test needs none, and
// the Caddyfile of the test.
func startEdges(ctx context.Context, dir string) error {
	for _, name := range []string{"edge.yaml", "edge-access.yaml"} {
		text, err := os.ReadFile(filepath.Join(manifests, "base", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"Caddyfile": `{
	admin unix//run/edge/admin.sock
	persist_config off
	auto_https off
	grace_period 20s
	servers {
		listener_wrappers {
			keep_connections
		}
	}
	edge {
		kubernetes
		hold 30s
	}
}

:80 {
	health
	edge_proxy web:8080 {
		probe {
			uri /_test/health
		}
	}
}
`,
		"kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: lab
resources: [edge.yaml, edge-access.yaml]
generatorOptions: {disableNameSuffixHash: true}
configMapGenerator:
  - {name: caddyfile, files: [Caddyfile]}
  - {name: settings, literals: [DOMAIN=localhost]}
secretGenerator:
  - {name: secrets, literals: [EDGE_DB_PASSWORD=x, EDGE_STORAGE_SECRET=x]}
images:
  - {name: edge, newName: docker.io/library/edge, newTag: dev}
patches:
  - target: {kind: Deployment, name: edge}
    patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: edge}
      spec:
        template:
          spec:
            containers:
              - {name: edge, env: [{name: STORAGE, value: ""}]}
  - target: {kind: Service, name: edge}
    patch: |
      - {op: add, path: /spec/ports/0/nodePort, value: ` + edgePort + `}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := cluster.Kubectl(ctx, "", "create", "namespace", "lab"); err != nil {
		return err
	}
	if _, err := cluster.Kubectl(ctx, "", "apply", "--validate=strict", "-k", dir); err != nil {
		return err
	}
	_, err := cluster.Kubectl(ctx, "", "-n", "lab", "rollout", "status", "--timeout=90s", "deployment/edge")
	return err
}

// edgePort is the port of the node at which the edges are.
const edgePort = "30080"

// printState prints what runs, and what the edges logged.
func printState() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, args := range []string{"get pods -A -o wide", "-n lab describe pods -l app.kubernetes.io/name=edge", "-n lab logs -l app.kubernetes.io/name=edge --tail=20 --prefix", "-n lab get events"} {
		out, err := cluster.Kubectl(ctx, "", strings.Fields(args)...)
		fmt.Fprintf(os.Stderr, "kubectl %s: %v\n%s\n", args, err, out)
	}
	for _, name := range []string{"api", "controllers", "scheduler", "kubelet", "containerd", "proxy"} {
		fmt.Fprintf(os.Stderr, "the last lines of %s:\n%s\n", name, cluster.Log(name))
	}
}
