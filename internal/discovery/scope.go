package discovery

import (
	"maps"
	"net/netip"
	"slices"
)

// scope is which project and which networks the edge serves.
type scope struct {
	project  string   // as configured; "": the edge's own, if it has one
	networks []string // as configured; none: all networks that the edge is on

	subnets    []netip.Prefix // those of the edge's networks
	ownProject string         // the edge's own project; "" if it is not known
}

// update sets the edge's subnets, and finds its own project: that of the container whose address is one of this machine's. It
// reports whether the scope has changed, so that any container may have become reachable or unreachable.
func (s *scope) update(subnets []netip.Prefix, containers map[string]containerInfo) (changed bool) {
	before := *s
	s.subnets = subnets
	s.ownProject = ""
	for _, c := range containers {
		for _, addrs := range c.networks {
			if slices.ContainsFunc(addrs, s.isOwnAddress) {
				s.ownProject = c.project
			}
		}
	}
	return !slices.Equal(before.subnets, subnets) || before.servedProject() != s.servedProject()
}

func (s *scope) isOwnAddress(addr netip.Addr) bool {
	return slices.ContainsFunc(s.subnets, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// servedProject returns the project whose services are used; "" means all.
func (s *scope) servedProject() string {
	if s.project != "" {
		return s.project
	}
	return s.ownProject
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
