package preflight

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// serviceByHost returns the service that Docker's DNS resolves a host name to, or nil. The name is that of a service or a container,
// an alias on a network, a hostname (from Docker Engine 25 on) or a link of the edge; each may be followed by a dot and the name of a
// network. DNS ignores case (RFC 4343).
func (s *stack) serviceByHost(host string) *compose.Service {
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

// hasDNSName reports whether Docker's DNS resolves a name to a service.
func (s *stack) hasDNSName(of *compose.Service, host string) bool {
	is := func(name string) bool { return strings.EqualFold(name, host) }
	if is(of.Name) || is(of.ContainerName) || s.isComposeContainerName(of, host) || s.resolvesHostnames && is(of.Hostname) {
		return true
	}
	for _, a := range of.Networks {
		if slices.ContainsFunc(a.Aliases, is) {
			return true
		}
	}
	return s.edge != nil && slices.ContainsFunc(s.edge.Links, func(link string) bool {
		to, alias, _ := strings.Cut(link, ":")
		return to == of.Name && is(alias)
	})
}

// isComposeContainerName reports whether Compose gives a name to a container of a service: PROJECT-SERVICE-NUMBER.
func (s *stack) isComposeContainerName(of *compose.Service, host string) bool {
	prefix := strings.ToLower(s.Name + "-" + of.Name + "-")
	number, found := strings.CutPrefix(strings.ToLower(host), prefix)
	n, err := strconv.Atoi(number)
	return of.ContainerName == "" && found && err == nil && n > 0
}

// hasNetwork reports whether the project has a network with a name in Docker.
func (s *stack) hasNetwork(name string) bool {
	for _, n := range s.Networks {
		if n.Name == name {
			return true
		}
	}
	return false
}
