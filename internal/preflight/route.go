package preflight

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkRoutes looks for each service of the configuration in the compose file: that it is there and in use, exposes the port, and
// is on a network with the edge.
func (c *Check) checkRoutes(ctx context.Context, s *stack, config *edgeConfig) []Finding {
	var all []Finding
	for _, name := range config.services {
		all = append(all, c.checkRoute(ctx, s, config, name))
	}
	return all
}

func (c *Check) checkRoute(ctx context.Context, s *stack, config *edgeConfig, name string) Finding {
	host, number, err := net.SplitHostPort(name)
	if err != nil {
		return errorFinding("route", "name a service and its port, such as bigcapital-server:3000", "%s: %v", name, err)
	}
	to := s.serviceByHost(host)
	switch {
	case to == nil && isExternalHost(host):
		return okFinding("route", "%s is an address, and was not looked for in the compose file", name)
	case to == nil && (config.project != "" || s.isOnExternalNetwork()):
		return warningFinding("route", "see that it is there: docker ps", "%s: %s is not in this compose file, and was not looked at: the edge is on networks of others", name, host)
	case to == nil:
		return errorFinding("route", "correct the name in the Caddyfile, or add the service; there are: "+strings.Join(s.activeNames, ", "), "%s: the compose file has no service %s", name, host)
	case !s.isActive(to.name):
		return errorFinding("route", fmt.Sprintf("add --profile %s, and COMPOSE_PROFILES=%s to .env", to.Profiles[0], to.Profiles[0]), "%s: %s is of the profile %s, which is not in use", name, to.name, strings.Join(to.Profiles, ", "))
	}
	shared := sharedNetworks(s.edge, to)
	switch {
	case s.edge.NetworkMode == "host":
		shared = []string{"the host's networks"}
	case s.networkOwner(to) != to:
		return errorFinding("route", fmt.Sprintf("name the service whose network it uses: %s:%s", s.networkOwner(to).name, number), "%s: %s has network_mode %s, and so no address of its own", name, to.name, to.NetworkMode)
	case to.NetworkMode != "":
		return errorFinding("route", "put it on a network of the edge: networks: ["+networkNames(s.edge)+"]", "%s: %s has network_mode %s, and so no address for the edge", name, to.name, to.NetworkMode)
	case len(shared) == 0:
		return errorFinding("route", "add "+to.name+" to a network of the edge: "+networkNames(s.edge), "%s: %s and %s have no network in common", name, to.name, c.Edge)
	}
	return c.checkRoutePort(ctx, s, to, name, strings.Join(shared, ", "))
}

// checkRoutePort reports whether a service listens on the port of a route, as far as that is written down anywhere. Neither expose nor
// EXPOSE has an effect between containers of one network.
func (c *Check) checkRoutePort(ctx context.Context, s *stack, to *service, name, networks string) Finding {
	_, number, _ := net.SplitHostPort(name)
	declared, inImage := to.exposedPorts(), c.imagePorts(ctx, s, to)
	known := slices.Compact(slices.Sorted(slices.Values(slices.Concat(declared, inImage))))
	expose := fmt.Sprintf("expose: [%q]", number)
	switch {
	case slices.Contains(known, number):
		return okFinding("route", "%s: %s exposes it on %s", name, to.name, networks)
	case to.mentionsPort(number):
		return okFinding("route", "%s: %s has the port in its environment, command or health check, on %s", name, to.name, networks)
	case len(known) == 0:
		return noteFinding("route", "say in the compose file what it listens on: "+expose, "%s: neither the compose file nor an image on this machine says which ports %s listens on", name, to.name)
	case len(inImage) > 0: // which says what it listens on unless it is told otherwise
		return warningFinding("route", "correct the port in the Caddyfile, or say in the compose file what it listens on: "+expose, "%s: of %s only %s is known, and not %s", name, to.name, strings.Join(known, ", "), number)
	default:
		return noteFinding("route", "correct the port in the Caddyfile, or add it to expose", "%s: %s exposes %s, and not %s; expose enforces nothing, so this works if it listens there", name, to.name, strings.Join(known, ", "), number)
	}
}

// isExternalHost reports whether an upstream is outside of the compose file: an IP address, this machine, or a name with dots.
func isExternalHost(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

// isOnExternalNetwork reports whether the edge is on networks that others make, where containers of other compose files can be.
func (s *stack) isOnExternalNetwork() bool {
	for name := range s.edge.Networks {
		if s.Networks[name].isExternal() {
			return true
		}
	}
	return s.edge.NetworkMode == "host"
}

// networkNames returns the edge's networks for a hint.
func networkNames(edge *service) string {
	var names []string
	for name := range edge.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// exposedPorts returns the TCP ports that the compose file says a service listens on.
func (s *service) exposedPorts() (ports []string) {
	for _, text := range s.Expose {
		ports = append(ports, expandPorts(text)...)
	}
	for _, p := range s.Ports {
		if p.protocol() == "tcp" {
			ports = append(ports, strconv.Itoa(p.Target))
		}
	}
	return ports
}

// imagePorts returns the TCP ports that a service's image says it listens on; none if the image is not on this machine.
func (c *Check) imagePorts(ctx context.Context, s *stack, of *service) (ports []string) {
	if !s.hasEngine {
		return nil
	}
	out, _, err := c.Docker.Run(ctx, "image", "inspect", "--format", "{{json .Config.ExposedPorts}}", s.imageName(of))
	var exposed map[string]any
	if err != nil || json.Unmarshal([]byte(out), &exposed) != nil {
		return nil
	}
	for text := range exposed {
		ports = append(ports, expandPorts(text)...)
	}
	return ports
}

// portVariableName are variables that say what a program listens on.
var portVariableName = regexp.MustCompile(`(?i)(^|_)(port|listen|bind|addr)`)

// mentionsPort reports whether a service's environment, command or health check says that it listens on a port.
func (s *service) mentionsPort(number string) bool {
	texts := slices.Concat(s.Entrypoint, s.Command, s.HealthCheck.Test)
	for name, value := range s.Environment {
		if value != nil && portVariableName.MatchString(name) {
			texts = append(texts, *value)
		}
	}
	word := regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(number) + `($|[^0-9.])`)
	return slices.ContainsFunc(texts, word.MatchString)
}

// expandPorts reads 3000, 3000/tcp and 3000-3002; UDP is none.
func expandPorts(text string) (ports []string) {
	numbers, protocol, _ := strings.Cut(text, "/")
	if protocol != "" && protocol != "tcp" {
		return nil
	}
	from, to, isRange := strings.Cut(numbers, "-")
	if !isRange {
		return []string{numbers}
	}
	first, firstErr := strconv.ParseUint(from, 10, 16)
	last, lastErr := strconv.ParseUint(to, 10, 16)
	if firstErr != nil || lastErr != nil {
		return []string{numbers}
	}
	for n := first; n <= last; n++ {
		ports = append(ports, strconv.FormatUint(n, 10))
	}
	return ports
}
