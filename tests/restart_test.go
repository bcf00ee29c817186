package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/tests/harness"
)

// TestUnhealthyContainersAreRestarted if the owner, the edge and the guard allow it, and not in a maintenance. Docker itself restarts only containers that
// have ended.
func TestUnhealthyContainersAreRestarted(t *testing.T) {
	t.Parallel()
	p := newLab(t, "LAB_NO_HEALTHCHECK=false", "LAB_RESTART=2s", "LAB_GUARD_RESTARTS=true", "LAB_RESTART_LABEL=unhealthy")
	p.WaitReady(t, "api:8080", 1)
	startedAt := func() string {
		return strings.TrimSpace(harness.MustDocker(t, "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", p.container(t, "api")))
	}
	began := startedAt()
	p.maintenance(t, "on", "api:8080")
	p.MustCompose(t, "exec", "-T", "api", "touch", "/tmp/sick")
	harness.Eventually(t, "the endpoint is failing", func() bool {
		s := p.ServiceStatus(t, "api:8080")
		return len(s.Endpoints) == 1 && s.Endpoints[0].State == registry.Failing && s.Endpoints[0].ShouldRestart
	})
	time.Sleep(5 * time.Second) // longer than the edge waits outside of a maintenance
	if now := startedAt(); now != began {
		t.Fatalf("the container is restarted in a maintenance: %s, before %s", now, began)
	}
	p.maintenance(t, "off")
	harness.Eventually(t, "the container is restarted", func() bool { return startedAt() != began })
	p.WaitReady(t, "api:8080", 1)
	p.WaitForStatus(t, "http://api.localhost/", 200)
	if out := p.MustCompose(t, "logs", "docker-guard"); !strings.Contains(out, "edge: restarting /") || strings.Count(out, "edge: restarting /") != 1 {
		t.Errorf("the guard's log is\n%s", out)
	}
	if out := p.MustCompose(t, "logs", "edge"); !strings.Contains(out, "an unhealthy container was restarted") {
		t.Errorf("the edge's log is\n%s", out)
	}
}

// TestUnhealthyContainersStayWithoutPermission: the guard refuses what the edge asks for, and says why.
func TestUnhealthyContainersStayWithoutPermission(t *testing.T) {
	t.Parallel()
	p := newLab(t, "LAB_NO_HEALTHCHECK=false", "LAB_RESTART=1s", "LAB_RESTART_LABEL=unhealthy")
	p.WaitReady(t, "api:8080", 1)
	id := p.container(t, "api")
	began := harness.MustDocker(t, "inspect", "--format", "{{.State.StartedAt}}", id)
	p.MustCompose(t, "exec", "-T", "api", "touch", "/tmp/sick")
	harness.Eventually(t, "the edge says that it was refused", func() bool {
		out := p.MustCompose(t, "logs", "edge")
		return strings.Contains(out, "an unhealthy container was not restarted") && strings.Contains(out, "the socket proxy does not forward POST")
	})
	if now := harness.MustDocker(t, "inspect", "--format", "{{.State.StartedAt}}", id); now != began {
		t.Errorf("the container was restarted")
	}
}
