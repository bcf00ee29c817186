package kubernetes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// deployment is the backends of a test.
type deployment struct {
	onTerm    string // what they do on SIGTERM: tests/backends/app
	bootDelay time.Duration
	preStop   time.Duration // 0: none
	replicas  int
	strategy  string
}

// start creates the Deployment and its Service, which the end of the test removes.
func (d deployment) start(t *testing.T) {
	t.Helper()
	preStop := ""
	if d.preStop > 0 {
		preStop = fmt.Sprintf("lifecycle: {preStop: {sleep: {seconds: %d}}}", int(d.preStop.Seconds()))
	}
	mustKubectl(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: lab}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  strategy: {type: %s}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: web
          image: docker.io/edge-test/generic:test
          env: [{name: ON_TERM, value: %s}, {name: BOOT_DELAY, value: %s}]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /_test/health, port: 8080}, periodSeconds: 1}
          %s
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: lab}
spec:
  selector: {app: web}
  ports: [{port: 8080}]
`, d.replicas, d.strategy, d.onTerm, d.bootDelay, preStop), "apply", "--validate=strict", "-f", "-")
	t.Cleanup(func() {
		mustKubectl(t, "", "-n", "lab", "delete", "--wait", "deployment/web", "service/web")
		mustKubectl(t, "", "-n", "lab", "wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
	})
	status(t, "web")
}

// status waits until a Deployment has only new pods, and all of them.
func status(t *testing.T, name string) {
	t.Helper()
	mustKubectl(t, "", "-n", "lab", "rollout", "status", "--timeout=120s", "deployment/"+name)
}

func rollout(t *testing.T, name string) {
	t.Helper()
	mustKubectl(t, "", "-n", "lab", "rollout", "restart", "deployment/"+name)
	status(t, name)
	// The pods that it has replaced are gone, too.
	harness.EventuallyWithin(t, time.Minute, "no pod is terminating", func() bool {
		out := mustKubectl(t, "", "-n", "lab", "get", "pods", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")
		return out == ""
	})
}

// url is where clients outside of the cluster reach the edges.
var url = "http://" + net.JoinHostPort(harness.KubernetesNode, edgePort) + "/_test/echo"

// startLoad starts clients of the edges, after these serve.
func startLoad(t *testing.T) *harness.Load {
	t.Helper()
	harness.EventuallyWithin(t, time.Minute, "the edges serve", func() bool { return harness.Exchange(http.DefaultClient, http.MethodGet, url) == nil })
	return harness.StartLoad(t, "edge", func(int) *http.Client {
		return &http.Client{Timeout: 70 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}
	}, func(int) string { return url })
}

// wantLost ends the load, and fails the test if an idempotent request is lost, or more POSTs than these.
func wantLost(t *testing.T, l *harness.Load, what string, maxPOST int) {
	t.Helper()
	if idempotent, post, _ := l.Report(t, what); idempotent > 0 || post > maxPOST {
		t.Errorf("%s: %d idempotent requests and %d POSTs were lost, want 0 and at most %d", what, idempotent, post, maxPOST)
	}
}

// TestRollouts replaces the pods of a Deployment. With Recreate, it has none for a while.
func TestRollouts(t *testing.T) {
	for _, c := range []struct {
		deployment
		maxPOST int
	}{
		{deployment{"rude", 0, 2 * time.Second, 3, "RollingUpdate"}, 0},
		{deployment{"rude", 0, 0, 3, "RollingUpdate"}, 1},
		{deployment{"rude", time.Second, 0, 1, "Recreate"}, 0},
		{deployment{"polite", 0, 0, 3, "RollingUpdate"}, 0},
		{deployment{"deaf", time.Second, 2 * time.Second, 2, "RollingUpdate"}, 0},
	} {
		what := fmt.Sprintf("%s, %d of %s, preStop %s, boots for %s", c.strategy, c.replicas, c.onTerm, c.preStop, c.bootDelay)
		t.Run(what, func(t *testing.T) {
			c.start(t)
			l := startLoad(t)
			for range rounds(t) {
				rollout(t, "web")
			}
			wantLost(t, l, what+", "+strconv.Itoa(rounds(t))+" rollouts", c.maxPOST)
		})
	}
}

// TestScaleToZero: a Service without a pod is known, so that requests wait.
func TestScaleToZero(t *testing.T) {
	d := deployment{"rude", 0, 0, 1, "RollingUpdate"}
	d.start(t)
	l := startLoad(t)
	mustKubectl(t, "", "-n", "lab", "scale", "deployment/web", "--replicas=0")
	time.Sleep(8 * time.Second)
	mustKubectl(t, "", "-n", "lab", "scale", "deployment/web", "--replicas=1")
	status(t, "web")
	time.Sleep(2 * time.Second)
	wantLost(t, l, "scaled to 0 and back", 0)
}

// TestTheAPIServerFreezes, and restarts: the edges go on with what they know, and see what changes afterwards.
func TestTheAPIServerFreezes(t *testing.T) {
	d := deployment{"rude", 0, 2 * time.Second, 3, "RollingUpdate"}
	d.start(t)
	l := startLoad(t)
	if err := cluster.Signal("api", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(12 * time.Second)
	if err := cluster.Signal("api", syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	rollout(t, "web")
	if err := cluster.Stop("api"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	if err := cluster.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
	rollout(t, "web")
	wantLost(t, l, "the API server is frozen for 12 s, and restarts", 0)
}

// TestTheEdgesAreReplaced, by a rollout and by deleting one: clients come from outside, through the NodePort.
func TestTheEdgesAreReplaced(t *testing.T) {
	d := deployment{"polite", 0, 0, 2, "RollingUpdate"}
	d.start(t)
	l := startLoad(t)
	for range rounds(t) {
		rollout(t, "edge")
	}
	wantLost(t, l, strconv.Itoa(rounds(t))+" rollouts of the edges", 0)
	l = startLoad(t)
	pod := mustKubectl(t, "", "-n", "lab", "get", "pods", "-l", "app.kubernetes.io/name=edge", "-o", "jsonpath={.items[0].metadata.name}")
	mustKubectl(t, "", "-n", "lab", "delete", "pod", pod)
	status(t, "edge")
	time.Sleep(2 * time.Second)
	wantLost(t, l, "an edge is deleted", 0)
}

// TestManyServices replaces pods among 500 other Services.
func TestManyServices(t *testing.T) {
	const others = 500
	var text strings.Builder
	for i := range others {
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: Service\nmetadata: {name: other%d, namespace: lab, labels: {many: \"yes\"}}\nspec: {selector: {app: other%[1]d}, clusterIP: None, ports: [{port: 80}]}\n", i)
	}
	mustKubectl(t, text.String(), "apply", "-f", "-")
	t.Cleanup(func() { mustKubectl(t, "", "-n", "lab", "delete", "services", "-l", "many=yes") })
	harness.EventuallyWithin(t, 2*time.Minute, "all Services have slices", func() bool {
		return strings.Count(mustKubectl(t, "", "-n", "lab", "get", "endpointslices", "-o", "name"), "/other") == others
	})
	d := deployment{"rude", 0, 2 * time.Second, 3, "RollingUpdate"}
	d.start(t)
	l := startLoad(t)
	rollout(t, "web")
	wantLost(t, l, "a rollout among 500 Services", 0)
}
