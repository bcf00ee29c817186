package preflight

import (
	"errors"
	"testing"
)

func TestUnhealthyContainersAreReported(t *testing.T) {
	for _, c := range []struct {
		name, list, kind string
		level            Level
		want, hint       string
	}{
		{"an unhealthy edge", "edge\tshop-edge-1\trunning\tUp 5 minutes (unhealthy)\n", "edge", Error, "shop-edge-1 is unhealthy", "docker inspect --format '{{json .State.Health.Log}}' shop-edge-1"},
		{"one of two edges", "edge\tshop-edge-1\trunning\tUp 5 minutes (healthy)\nedge\tshop-edge-2\trunning\tUp 5 minutes (unhealthy)\n", "edge", Error, "shop-edge-2 is unhealthy", "docker inspect"},
		{"an edge that restarts", "edge\tshop-edge-1\trestarting\tRestarting (1) 5 seconds ago\n", "edge", Error, "shop-edge-1 exits and is restarted again and again: Restarting (1) 5 seconds ago", "docker logs --tail 50 shop-edge-1"},
		{"a paused edge", "edge\tshop-edge-1\tpaused\tUp 5 minutes (Paused)\n", "edge", Error, "shop-edge-1 is paused", "--force-recreate edge"},
		{"an edge that has just started", "edge\tshop-edge-1\trunning\tUp 2 seconds (health: starting)\n", "edge", Note, "shop-edge-1 has not passed its health check yet", "run edge check again"},
		{"a healthy edge", "edge\tshop-edge-1\trunning\tUp 5 minutes (healthy)\n", "edge", OK, "shop-edge-1 is healthy", ""},
		{"an unhealthy service", "app\tshop-app-1\trunning\tUp 5 minutes (unhealthy)\n", "container", Warning, "shop-app-1 is unhealthy", "docker inspect"},
		{"an Engine that does not list containers", "", "container", Warning, "can't be listed: permission denied", "docker ps --all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newFakeHost(t)
			const list = "ps --all --filter label=com.docker.compose.project=shop --filter label=com.docker.compose.oneoff=False"
			w.dockerOutputs[list] = c.list
			if c.list == "" {
				w.dockerErrors[list] = errors.New("permission denied")
			}
			expectFinding(t, w.newCheck(t).Run(t.Context()), c.kind, c.level, c.want, c.hint)
		})
	}
}

func TestHealthyContainersAreAccepted(t *testing.T) {
	w := newFakeHost(t)
	w.dockerOutputs["ps --all"] = "app\tshop-app-1\trunning\tUp 5 minutes\ndocker-guard\tg\texited\tExited (0) 2 hours ago\nold\tshop-old-1\trunning\tUp (unhealthy)\n"
	expectNoProblems(t, w.newCheck(t).Run(t.Context()))
}
