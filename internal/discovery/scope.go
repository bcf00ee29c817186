package discovery

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// AnyProject in Engine.Projects means every project.
const AnyProject = "any"

// scope is which projects and which networks the edge serves.
type scope struct {
	projects []string // as configured; none: the edge's own, if it has one
	networks []string // as configured; none: all networks that the edge is on

	subnets    []netip.Prefix // those of the edge's networks
	ownProject string         // the edge's own project; "" if it is not known
	ownID      string         // the edge's own container; "" if it is not known
}

// update sets the edge's subnets, and finds its own project: that of the container whose address is one of this machine's. It
// reports whether the scope has changed, so that any container may have become reachable or unreachable.
func (s *scope) update(subnets []netip.Prefix, containers map[string]containerInfo) (changed bool) {
	before := *s
	s.subnets = subnets
	if !s.isOwn(containers[s.ownID]) {
		s.ownProject, s.ownID = "", ""
		for id, c := range containers {
			if s.isOwn(c) {
				s.ownProject, s.ownID = c.project, id
			}
		}
	}
	return !slices.Equal(before.subnets, subnets) || !slices.Equal(before.served(), s.served())
}

// isOwn reports whether the container is the one that the edge runs in.
func (s *scope) isOwn(c containerInfo) bool {
	for _, addrs := range c.networks {
		if slices.ContainsFunc(addrs, s.isOwnAddress) {
			return true
		}
	}
	return false
}

func (s *scope) isOwnAddress(addr netip.Addr) bool {
	return slices.ContainsFunc(s.subnets, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// served returns the projects whose services are used. None are all projects, and the containers that Compose did not create.
func (s *scope) served() []string {
	switch {
	case slices.Contains(s.projects, AnyProject):
		return nil
	case len(s.projects) > 0:
		return s.projects
	case s.ownProject != "":
		return []string{s.ownProject}
	}
	return nil
}

// serves reports whether the containers of a project are used for a name, if the projects in served are. Unless the projects are
// configured, a name with a project is enough.
func (s *scope) serves(served []string, project, name string) bool {
	return len(served) == 0 || slices.Contains(served, project) || len(s.projects) == 0 && strings.Contains(name, "/")
}

// address returns the address at which the edge reaches the container: in the first usable network by name, IPv4 before IPv6. It is
// the zero Addr if there is none.
func (s *scope) address(c containerInfo) netip.Addr {
	for _, network := range slices.Sorted(maps.Keys(c.networks)) {
		if len(s.networks) > 0 && !slices.Contains(s.networks, network) {
			continue
		}
		for _, a := range c.networks[network] {
			if len(s.networks) > 0 || inSubnets(a, s.subnets) {
				return a
			}
		}
	}
	return netip.Addr{}
}
