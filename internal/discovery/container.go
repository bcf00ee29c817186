package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/theworklabs/edge/internal/registry"
)

// Labels that Compose sets on containers, and the edge's own.
const (
	labelProject     = "com.docker.compose.project"
	labelService     = "com.docker.compose.service"
	labelNumber      = "com.docker.compose.container-number"
	labelOneOff      = "com.docker.compose.oneoff"
	labelDrill       = "edge.drill"        // a container of the scratch project of `edge drill`
	labelStopSignals = "edge.stop_signals" // "WINCH,HUP": signals that tell the container to stop, although they usually do not
	labelDependsOn   = "com.docker.compose.depends_on"
	labelRestart     = "edge.restart" // "unhealthy": the container may be restarted when Docker's health check says so
)

// containerInfo is what the Docker Engine's list shows of a container, or a Swarm manager's of a task, as far as discovery needs it.
type containerInfo struct {
	id              string
	memberID        string   // the member's, if another than id; for containers of several services, which are one for each
	project         string   // "" if Compose did not create it
	service         string   // of Compose, in lower case
	names           []string // the service's and the container's, and the same as project/name, in lower case
	displayName     string
	running         bool     // or paused
	unhealthyReason string   // why it must not be used although it runs; "": it may be used
	restart         bool     // its owner wants it restarted when it is unhealthy
	jobs            []string // of a container that may be restarted: Compose services that must have completed before it starts, such as a migration
	isTask          bool     // of a Swarm
	isStopping      bool     // the Swarm wants it stopped
	// unreachableReason is why the edge can't reach it although it runs; "": it may.
	unreachableReason string
	networks          map[string][]netip.Addr
	addr              netip.Addr // at which the edge reaches it, by its scope; the zero Addr if it does not
}

// Values of containerInfo.unhealthyReason.
const (
	reasonPaused    = "its container is paused"
	reasonUnhealthy = "Docker's health check says unhealthy"
)

// newContainerInfo reads a list entry. ok is false for one-off containers and those of a drill, which never serve, and for an entry without
// an ID.
func newContainerInfo(item container.Summary) (c containerInfo, ok bool) {
	if item.ID == "" || strings.EqualFold(item.Labels[labelOneOff], "true") || item.Labels[labelDrill] != "" {
		return containerInfo{}, false
	}
	c = containerInfo{
		id:       item.ID,
		project:  item.Labels[labelProject],
		running:  item.State == container.StateRunning || item.State == container.StatePaused,
		restart:  item.Labels[labelRestart] == "unhealthy",
		networks: make(map[string][]netip.Addr),
	}
	if c.restart {
		c.jobs = jobsOf(item.Labels[labelDependsOn])
	}
	if s := item.Labels[labelService]; s != "" {
		c.service = strings.ToLower(s)
		c.names = append(c.names, c.service)
		c.displayName = c.project + "/" + s + "/" + item.Labels[labelNumber]
	}
	for _, n := range item.Names {
		n = strings.ToLower(strings.TrimPrefix(n, "/"))
		if n != "" && !slices.Contains(c.names, n) {
			c.names = append(c.names, n)
		}
		if c.displayName == "" {
			c.displayName = n
		}
	}
	if c.project != "" {
		for _, n := range c.names {
			c.names = append(c.names, strings.ToLower(c.project)+"/"+n)
		}
	}
	switch {
	case item.State == container.StatePaused || strings.HasSuffix(item.Status, "(Paused)"):
		c.unhealthyReason = reasonPaused
	case strings.HasSuffix(item.Status, "(unhealthy)"):
		c.unhealthyReason = reasonUnhealthy
	}
	if item.NetworkSettings != nil {
		for name, ep := range item.NetworkSettings.Networks {
			if ep == nil {
				continue
			}
			for _, addr := range []netip.Addr{ep.IPAddress, ep.GlobalIPv6Address} {
				if addr.IsValid() && !addr.IsUnspecified() {
					c.networks[name] = append(c.networks[name], addr)
				}
			}
		}
	}
	return c, true
}

// jobsOf returns the services that a label of Compose says must have completed: "db:service_healthy:false,migration:service_completed_successfully:false".
func jobsOf(dependsOn string) (jobs []string) {
	for dependency := range strings.SplitSeq(dependsOn, ",") {
		name, condition, _ := strings.Cut(dependency, ":")
		if strings.HasPrefix(condition, "service_completed_successfully") {
			jobs = append(jobs, strings.ToLower(name))
		}
	}
	return jobs
}

// member returns the container as a member of the registry.
func (c containerInfo) member(isStopping bool) registry.Member {
	m := registry.Member{ID: cmp.Or(c.memberID, c.id), Name: c.displayName, Project: c.project, Addr: c.addr, Phase: registry.Running, UnhealthyReason: c.unhealthyReason}
	m.ShouldRestart = c.restart && c.unhealthyReason == reasonUnhealthy
	switch {
	case !c.running:
		m.Phase, m.Addr, m.UnhealthyReason, m.ShouldRestart = registry.Stopped, netip.Addr{}, "", false
	case c.unreachableReason != "" || !c.addr.IsValid():
		m.Phase, m.UnhealthyReason, m.ShouldRestart = registry.Unreachable, c.unreachableReason, false
	case isStopping || c.isStopping:
		m.Phase, m.ShouldRestart = registry.Terminating, false
	}
	return m
}
