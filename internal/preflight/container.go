package preflight

import (
	"context"
	"strings"
)

// container is a line of `docker ps`.
type container struct {
	service, name string
	state         string // running, restarting, exited, …
	status        string // Up 5 minutes (unhealthy), …
}

// psFormat is the format of `docker ps` that checkContainers reads.
const psFormat = "{{.Label \"com.docker.compose.service\"}}\t{{.Names}}\t{{.State}}\t{{.Status}}"

// checkContainers reports containers of the stack that are unhealthy, or that exit and are restarted. For the edge that is an error,
// because all requests depend on it.
func (c *Check) checkContainers(ctx context.Context, s *stack) []Finding {
	if !s.hasEngine {
		return nil
	}
	out, _, err := c.Docker.Run(ctx, "ps", "--all", "--filter", "label=com.docker.compose.project="+s.Name, "--filter", "label=com.docker.compose.oneoff=False", "--format", psFormat)
	if err != nil {
		return []Finding{warningFinding("container", "docker ps --all", "the containers of the stack can't be listed: %v", err)}
	}
	var all []Finding
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(fields) != 4 || !s.isActive(fields[0]) {
			continue
		}
		if found := c.checkContainer(container{fields[0], fields[1], fields[2], fields[3]}); found != nil {
			all = append(all, *found)
		}
	}
	return all
}

// checkContainer returns a finding about a container, or nil.
func (c *Check) checkContainer(of container) *Finding {
	kind, report := "container", warningFinding
	if of.service == c.Edge {
		kind, report = "edge", errorFinding
	}
	health := "docker inspect --format '{{json .State.Health.Log}}' " + of.name + " shows the output of the health check"
	var found Finding
	switch {
	case of.state == "restarting":
		found = report(kind, "docker logs --tail 50 "+of.name+" shows why it exits", "%s exits and is restarted again and again: %s", of.name, of.status)
	case of.state == "paused", of.state == "dead":
		found = report(kind, "docker compose up --detach --force-recreate "+of.service, "%s is %s", of.name, of.state)
	case of.state != "running":
		return nil
	case strings.Contains(of.status, "(unhealthy)"):
		found = report(kind, health, "%s is unhealthy", of.name)
	case strings.Contains(of.status, "(health: starting)"):
		found = noteFinding(kind, "run edge check again in a minute", "%s has not passed its health check yet", of.name)
	case of.service == c.Edge && strings.Contains(of.status, "(healthy)"):
		found = okFinding(kind, "%s is healthy", of.name)
	default:
		return nil
	}
	return &found
}
