package discovery_test

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

// TestAnUnhealthyContainerIsNotRestartedWhileItsMigrationRuns: its health check may fail because the migration has locked tables, and it would start on half of it.
func TestAnUnhealthyContainerIsNotRestartedWhileItsMigrationRuns(t *testing.T) {
	engine := newFakeEngine(t)
	state := container.StateExited
	job := func(c *container.Summary) {
		c.Labels["com.docker.compose.service"], c.State = "migration", state
		c.NetworkSettings = &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{"data": {IPAddress: netip.MustParseAddr("10.0.0.9")}}}
	}
	engine.put("m", "10.0.0.9", job)
	engine.put("a", "10.0.0.7", func(c *container.Summary) {
		c.Labels["edge.restart"], c.Status = "unhealthy", "Up 5 minutes (unhealthy)"
		c.Labels["com.docker.compose.depends_on"] = "db:service_healthy:false,Migration:service_completed_successfully:true"
	})
	r := sourcetest.Start(t, engine.NewSource())
	shouldRestart := func(want bool) func(sourcetest.State) bool {
		return func(s sourcetest.State) bool {
			return len(s.Members["api"]) == 1 && s.Members["api"][0].ShouldRestart == want
		}
	}
	r.Eventually(t, "it may be restarted", shouldRestart(true))
	state = container.StateRunning
	engine.put("m", "10.0.0.9", job)
	engine.emit(events.ActionStart, "m", nil)
	r.Eventually(t, "not while the migration runs", shouldRestart(false))
	state = container.StateExited
	engine.put("m", "10.0.0.9", job)
	engine.emit(events.ActionDie, "m", nil)
	r.Eventually(t, "again when it has ended", shouldRestart(true))
}
