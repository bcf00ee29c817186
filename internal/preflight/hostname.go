package preflight

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// serviceByHost returns the service that a host name means: a service, a container's name, an alias on a network, a hostname (from
// Docker Engine 25 on), a link of the edge, or one of these with the name of a network behind it. Docker's DNS ignores case (RFC 4343).
func (s *stack) serviceByHost(host string) *service {
	if found := s.Services[host]; found != nil || host == "" {
		return found
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		if s.hasDNSName(s.Services[name], host) {
			return s.Services[name]
		}
	}
	if dot := strings.LastIndex(host, "."); dot > 0 && s.hasNetwork(host[dot+1:]) {
		return s.serviceByHost(host[:dot])
	}
	return nil
}

// hasDNSName reports whether Docker's DNS knows a service by a name.
func (s *stack) hasDNSName(of *service, host string) bool {
	is := func(name string) bool { return strings.EqualFold(name, host) }
	if is(of.name) || is(of.ContainerName) || s.isComposeContainerName(of, host) || s.resolvesHostnames && is(of.Hostname) {
		return true
	}
	for _, a := range of.Networks {
		if slices.ContainsFunc(a.Aliases, is) {
			return true
		}
	}
	return s.edge != nil && slices.ContainsFunc(s.edge.Links, func(link string) bool {
		to, alias, _ := strings.Cut(link, ":")
		return to == of.name && is(alias)
	})
}

// isComposeContainerName reports whether a name is one that Compose gives to a container of a service: PROJECT-SERVICE-NUMBER.
func (s *stack) isComposeContainerName(of *service, host string) bool {
	prefix := strings.ToLower(s.Name + "-" + of.name + "-")
	number, found := strings.CutPrefix(strings.ToLower(host), prefix)
	n, err := strconv.Atoi(number)
	return of.ContainerName == "" && found && err == nil && n > 0
}

func (s *stack) hasNetwork(name string) bool {
	for _, n := range s.Networks {
		if n.Name == name {
			return true
		}
	}
	return false
}
