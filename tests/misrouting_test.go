package tests

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// runServiceContainer runs a container with the labels of a service of the lab's project. The container answers with its name.
func (p *project) runServiceContainer(t *testing.T, service, name string, extra ...string) string {
	t.Helper()
	args := append([]string{
		"run", "--detach", "--network", p.Name + "_lab", "--network-alias", service,
		"--label", "com.docker.compose.project=" + p.Name, "--label", "com.docker.compose.service=" + service,
		"--label", "com.docker.compose.container-number=9", "--label", "com.docker.compose.oneoff=False",
		"--env", "PORT=8080", "--env", "NAME=" + name,
	}, extra...)
	id := harness.MustDocker(t, append(args, "edge-test/generic:test")...)
	t.Cleanup(func() { harness.MustDocker(t, "rm", "--force", id) })
	return id
}

// TestReusedAddressGetsNoRequestsOfTheOldService: under load, a container of another service gets the address that a container of
// api had. It must get no request for api.
func TestReusedAddressGetsNoRequestsOfTheOldService(t *testing.T) {
	harness.LongOnly(t, "test-long")
	for _, mode := range []struct{ name, dockerHost string }{{"engine", "tcp://docker-guard:2375"}, {"dns", ""}} {
		t.Run(mode.name, func(t *testing.T) {
			p := newLab(t, "LAB_DOCKER_HOST="+mode.dockerHost)
			p.WaitReady(t, labService, 1)
			var misrouted, answered atomic.Int64
			ctx, cancel := context.WithCancel(t.Context())
			client := p.Client(true, nil)
			var senders sync.WaitGroup
			for range 8 {
				senders.Go(func() {
					for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
						a, err := harness.Do(client, http.MethodGet, labURL, nil)
						if err != nil || a.Status != http.StatusOK {
							continue
						}
						answered.Add(1)
						if strings.Contains(a.Body, `"foreign"`) {
							misrouted.Add(1)
						}
					}
				})
			}
			for range 3 {
				old := p.runServiceContainer(t, "api", "ours")
				p.WaitReady(t, labService, 2)
				addr := harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", old)
				harness.MustDocker(t, "rm", "--force", old)
				foreign := p.runServiceContainer(t, "other", "foreign")
				if got := harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", foreign); got != addr {
					t.Fatalf("the next container has the address %s, want the free one, %s", got, addr)
				}
				p.WaitReady(t, "other:8080", 1)
				harness.MustDocker(t, "rm", "--force", foreign)
			}
			cancel()
			senders.Wait()
			t.Logf("%d responses, %d from the wrong application", answered.Load(), misrouted.Load())
			if misrouted.Load() > 0 || answered.Load() == 0 {
				t.Errorf("%d of %d requests are misrouted, want none of many", misrouted.Load(), answered.Load())
			}
		})
	}
}

// TestTwoProjectsWithTheSameServiceName: the edge uses the service of its own project, and reports the other one as a problem.
func TestTwoProjectsWithTheSameServiceName(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	foreign := harness.MustDocker(t, "run", "--detach", "--network", p.Name+"_lab", "--network-alias", "api",
		"--label", "com.docker.compose.project=another", "--label", "com.docker.compose.service=api",
		"--env", "PORT=8080", "--env", "NAME=foreign", "edge-test/generic:test")
	t.Cleanup(func() { harness.MustDocker(t, "rm", "--force", foreign) })
	harness.Eventually(t, "the status shows the problem", func() bool {
		return strings.Contains(p.ServiceStatus(t, labService).Problem, "project another answers to api too")
	})
	for range 50 {
		p.CheckGet(t, labURL, harness.Want{Status: http.StatusOK, Lacks: `"foreign"`})
	}
	status := p.MustCompose(t, "exec", "-T", "edge", "edge", "status", "--address", "0.0.0.0:2019")
	if !strings.Contains(status, "project another answers to api too") {
		t.Errorf("edge status does not show it:\n%s", status)
	}
}

// TestPOSTsSucceedWhileNodeClosesIdleConnections: Node closes idle connections after 5 s. The test sends POSTs after pauses of about
// that length. No POST may fail on a connection that Node closes.
func TestPOSTsSucceedWhileNodeClosesIdleConnections(t *testing.T) {
	t.Parallel() // with TestSlowResponseIsNotCutOff, which waits
	p := newLab(t)
	p.MustCompose(t, "--profile", "node", "up", "--detach", "node")
	p.WaitReady(t, "node:3000", 1)
	client := p.Client(true, nil)
	const atOnce = 50
	pauses := []time.Duration{0, 2900, 3000, 3100, 4900, 4950, 5000, 5050, 5100, 5500} // in milliseconds
	var failed atomic.Int64
	sent := 0
	for round := range 10 {
		for range 10 {
			var all sync.WaitGroup
			for range atOnce {
				sent++
				all.Go(func() {
					a, err := harness.Do(client, http.MethodPost, "http://node.localhost/api/echo", strings.NewReader(`{"n":1}`))
					if err != nil || a.Status != http.StatusOK {
						failed.Add(1)
						t.Errorf("POST: %v %d %s", err, a.Status, a.Body)
					}
				})
			}
			all.Wait()
		}
		<-time.After(pauses[round] * time.Millisecond)
	}
	t.Logf("%d POSTs, %d failed", sent, failed.Load())
}
