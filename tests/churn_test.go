package tests

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

const (
	labURL     = "http://api.localhost/_test/echo"
	labService = "api:8080"
)

// loadDuring sends requests while change runs, and for a second before and after.
func loadDuring(t *testing.T, p *project, url string, change func()) *loadResult {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *loadResult)
	go func() { done <- runLoad(ctx, p, url) }()
	<-time.After(time.Second)
	change()
	<-time.After(time.Second)
	cancel()
	return <-done
}

// TestNoGETIsLostWhileAReplicaIsRecreated has one replica, whose backend listens after a second and exits at once on SIGTERM.
// EDGE_TEST_RECREATES is how often the test recreates it; default 2.
func TestNoGETIsLostWhileAReplicaIsRecreated(t *testing.T) {
	t.Parallel()
	times := harness.Count(t, "EDGE_TEST_RECREATES", 2)
	for _, mode := range []struct{ name, dockerHost string }{{"engine", "tcp://docker-guard:2375"}, {"dns", ""}} {
		t.Run(mode.name, func(t *testing.T) {
			p := newLab(t, "LAB_DOCKER_HOST="+mode.dockerHost, "LAB_BOOT_DELAY=1s")
			p.WaitReady(t, labService, 1)
			l := loadDuring(t, p, labURL, func() {
				for range times {
					p.MustCompose(t, "up", "--detach", "--no-deps", "--force-recreate", "api")
					p.WaitReady(t, labService, 1)
					p.waitAnswered(t)
				}
			})
			l.logOutcomes(t, "recreate, "+mode.name)
			if l.lost(http.MethodGet) > 0 {
				t.Errorf("%d GETs are lost: %v", l.lost(http.MethodGet), l.outcomes[http.MethodGet])
			}
			for outcome, n := range l.outcomes[http.MethodPost] {
				if outcome != "answered" && outcome != "unknown" {
					t.Errorf("%d POSTs: %s", n, outcome)
				}
			}
		})
	}
}

// waitAnswered waits until the requests that a stop has cut off, or made wait, have been answered. By DNS alone, nobody tells the edge of
// stops: a request that is cut off twice gets 502, since it could be the cause.
func (p *project) waitAnswered(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "no request waits", func() bool { return p.ServiceStatus(t, labService).Held == 0 })
	p.WaitForStatus(t, labURL, http.StatusOK) // a request that was sent after those
}

// TestNoGETIsLostWhileAServiceIsScaled scales from 1 replica to 3 and back to 1.
func TestNoGETIsLostWhileAServiceIsScaled(t *testing.T) {
	t.Parallel()
	p := newLab(t, "LAB_BOOT_DELAY=500ms", "LAB_ON_TERM=polite")
	p.WaitReady(t, labService, 1)
	l := loadDuring(t, p, labURL, func() {
		p.MustCompose(t, "up", "--detach", "--no-deps", "--no-recreate", "--scale", "api=3", "api")
		p.WaitReady(t, labService, 3)
		p.MustCompose(t, "up", "--detach", "--no-deps", "--no-recreate", "--scale", "api=1", "api")
		p.WaitReady(t, labService, 1)
	})
	l.logOutcomes(t, "scale 1 → 3 → 1")
	if l.lost(http.MethodGet) > 0 {
		t.Errorf("%d GETs are lost: %v", l.lost(http.MethodGet), l.outcomes[http.MethodGet])
	}
}

func TestReadinessFollowsTheServicesAndHealthDoesNot(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	p.MustCompose(t, "stop", "--timeout", "1", "api")
	harness.Eventually(t, "/health/ready answers 503 and names the service", func() bool {
		a := p.Get(t, "http://api.localhost/health/ready")
		return a.Status == http.StatusServiceUnavailable && strings.Contains(a.Body, "api:8080")
	})
	p.CheckGet(t, "http://api.localhost/health", harness.Want{Status: http.StatusOK})
	p.MustCompose(t, "start", "api")
	p.WaitReady(t, labService, 1)
}

// TestEdgeUsesDNSWithoutItsGuard: the edge starts, serves and reloads while its Docker host does not exist.
func TestEdgeUsesDNSWithoutItsGuard(t *testing.T) {
	t.Parallel()
	p := newLab(t, "LAB_DOCKER_HOST=tcp://nobody:2375")
	p.WaitReady(t, labService, 1)
	p.CheckGet(t, labURL, harness.Want{Status: http.StatusOK})
	p.MustCompose(t, "exec", "-T", "edge", "edge", "validate", "--config", "/etc/edge/lab.Caddyfile", "--adapter", "caddyfile")
	p.MustCompose(t, "exec", "-T", "edge", "edge", "reload", "--force", "--config", "/etc/edge/lab.Caddyfile", "--adapter", "caddyfile")
	p.CheckGet(t, labURL, harness.Want{Status: http.StatusOK})
	if source := p.ServiceStatus(t, labService).Source; source != "dns" {
		t.Errorf("the source is %q", source)
	}
}

// TestEdgeFallsBackToDNSWhileTheGuardIsDown: the edge uses DNS, and the Docker Engine again when the guard is back.
func TestEdgeFallsBackToDNSWhileTheGuardIsDown(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	harness.Eventually(t, "the source is the Docker Engine", func() bool { return p.ServiceStatus(t, labService).Source == "engine" })
	p.WaitReady(t, labService, 1)
	since := p.ServiceStatus(t, labService).Endpoints[0].Since
	p.MustCompose(t, "kill", "docker-guard")
	harness.Eventually(t, "the source is DNS", func() bool { return p.ServiceStatus(t, labService).Source == "dns" })
	p.MustCompose(t, "start", "docker-guard")
	harness.Eventually(t, "the source is the Docker Engine again", func() bool { return p.ServiceStatus(t, labService).Source == "engine" })
	if now := p.ServiceStatus(t, labService).Endpoints[0].Since; !now.Equal(since) {
		t.Errorf("the endpoint has been replaced: ready since %s, before since %s", now, since)
	}
}

func TestAPausedContainerGetsNoNewRequests(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.MustCompose(t, "up", "--detach", "--no-recreate", "--scale", "api=2", "api")
	p.WaitReady(t, labService, 2)
	p.MustCompose(t, "pause", "api")
	p.WaitReady(t, labService, 0)
	p.MustCompose(t, "unpause", "api")
	p.WaitReady(t, labService, 2)
	harness.MustDocker(t, "pause", p.container(t, "api"))
	p.WaitReady(t, labService, 1)
	for range 20 {
		p.CheckGet(t, labURL, harness.Want{Status: http.StatusOK})
	}
	harness.MustDocker(t, "unpause", p.container(t, "api"))
	p.WaitReady(t, labService, 2)
}

func TestDisconnectedContainerGetsNoRequests(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	id := p.container(t, "api")
	network := p.Name + "_lab"
	harness.MustDocker(t, "network", "disconnect", network, id)
	p.WaitReady(t, labService, 0)
	harness.MustDocker(t, "network", "connect", "--alias", "api", network, id)
	p.WaitReady(t, labService, 1)
}

func TestUnknownServiceFailsAtOnceAndIsLogged(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	began := time.Now()
	a := p.Get(t, "http://nowhere.localhost/")
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q; want 503 with one", a.Status, a.Header.Get("Retry-After"))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	harness.Eventually(t, "the log names the unknown service and the known ones", func() bool {
		logs := p.MustCompose(t, "logs", "--no-color", "edge")
		return strings.Contains(logs, "nowhere:8080") && strings.Contains(logs, "known: ")
	})
}

func TestDockerDNSUpstreamsFollowTheContainers(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.MustCompose(t, "up", "--detach", "--no-recreate", "--scale", "api=2", "api")
	p.WaitReady(t, labService, 2)
	seen := make(map[string]bool)
	for range 50 {
		a := p.CheckGet(t, "http://upstreams.localhost/_test/echo", harness.Want{Status: http.StatusOK})
		seen[a.Header.Get("X-Test-Backend")] = true
	}
	if len(seen) != 2 {
		t.Errorf("reached %v, want both containers", seen)
	}
}
