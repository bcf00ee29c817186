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

	"github.com/theworklabs/edge/internal/compose"
)

// checkRoutes checks that each service of the configuration is an active service of the compose file, shares a network with the edge,
// and listens on the port.
func (c *Check) checkRoutes(ctx context.Context, s *stack, config *edgeConfig) []Finding {
	var all []Finding
	for _, name := range config.services {
		all = append(all, c.checkRoute(ctx, s, config, name))
	}
	return all
}

// checkRoute checks one name of a service, NAME:PORT or PROJECT/NAME:PORT.
func (c *Check) checkRoute(ctx context.Context, s *stack, config *edgeConfig, name string) Finding {
	project, address := splitProject(name)
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return errorFinding("route", "name a service and its port, such as bigcapital-server:3000", "%s: %v", name, err)
	}
	if project != "" && project != s.Name {
		return c.checkProjectRoute(ctx, s, config, name, project, host)
	}
	to := s.serviceByHost(host)
	if to == nil {
		if found, ok := c.checkForeignRoute(ctx, s, config, name, host); ok {
			return found
		}
	} else if found := c.checkOwnRoute(ctx, s, config, name, host, to, project != ""); found != nil {
		return *found
	}
	switch {
	case to == nil && host == dockerDesktopHost && !s.hasExtraHost(host):
		return warningFinding("route", fmt.Sprintf("add to the service %s: extra_hosts: [%q]", c.Edge, host+":host-gateway"), "%s: only Docker Desktop resolves %s by itself", name, host)
	case to == nil && isExternalHost(host):
		return okFinding("route", "%s is an address, and is not looked up in the compose file", name)
	case to == nil && (len(config.projects) > 0 || s.isOnExternalNetwork()):
		return warningFinding("route", "start it, name the directory of its project (--with DIR), or correct the name"+s.knownOthers(), "%s: %s is not in this compose file, and is not checked: the edge is on an external network", name, host)
	case to == nil:
		return errorFinding("route", "correct the name in the Caddyfile, or add the service; there are: "+strings.Join(append(slices.Clone(s.activeNames), s.otherServices()...), ", "), "%s: the compose file has no service %s", name, host)
	}
	return c.checkReachable(ctx, s, s, to, name)
}

// checkReachable checks that a service runs where the edge reaches it, and listens on the port of a route. The service is of the edge's own
// project, s, or of another one.
func (c *Check) checkReachable(ctx context.Context, s, owner *stack, to *compose.Service, name string) Finding {
	_, address := splitProject(name)
	_, number, _ := net.SplitHostPort(address)
	if !owner.isActive(to.Name) {
		return errorFinding("route", fmt.Sprintf("add --profile %s, and COMPOSE_PROFILES=%s to .env", to.Profiles[0], to.Profiles[0]), "%s: %s is of the profile %s, which is not in use", name, to.Name, strings.Join(to.Profiles, ", "))
	}
	shared, networks := compose.SharedNetworks(s.edge, to), networkNames(s.edge)
	if owner != s {
		shared, networks = sharedNetworks(s, owner, to)
	}
	switch {
	case s.edge.NetworkMode == "host":
		shared = []string{"the host's networks"}
	case owner.NetworkOwner(to) != to:
		return errorFinding("route", fmt.Sprintf("name the service whose network it uses: %s:%s", owner.NetworkOwner(to).Name, number), "%s: %s has network_mode %s, and so no address of its own", name, to.Name, to.NetworkMode)
	case to.NetworkMode != "":
		return errorFinding("route", "put it on a network of the edge: networks: ["+networks+"]", "%s: %s has network_mode %s, and so no address for the edge", name, to.Name, to.NetworkMode)
	case len(shared) == 0 && owner != s:
		return errorFinding("route", "add "+to.Name+" to a network of the edge, with `external: true` there: "+networks, "%s: %s and %s have no network in common", name, to.Name, c.Edge)
	case len(shared) == 0:
		return errorFinding("route", "add "+to.Name+" to a network of the edge: "+networks, "%s: %s and %s have no network in common", name, to.Name, c.Edge)
	}
	return c.checkRoutePort(ctx, owner, to, name, strings.Join(shared, ", "))
}

// checkRoutePort checks that a service listens on the port of a route, according to the compose file or the image. Neither expose nor
// EXPOSE has an effect between containers of one network, so that a difference is no error.
func (c *Check) checkRoutePort(ctx context.Context, s *stack, to *compose.Service, name, networks string) Finding {
	_, address := splitProject(name)
	_, number, _ := net.SplitHostPort(address)
	declared, inImage := exposedPorts(to), c.imagePorts(ctx, s, to)
	known := slices.Compact(slices.Sorted(slices.Values(slices.Concat(declared, inImage))))
	expose := fmt.Sprintf("expose: [%q]", number)
	switch {
	case slices.Contains(known, number):
		return okFinding("route", "%s: %s exposes it on %s", name, to.Name, networks)
	case mentionsPort(to, number):
		return okFinding("route", "%s: %s has the port in its environment, command or health check, on %s", name, to.Name, networks)
	case len(known) == 0:
		return noteFinding("route", "say in the compose file what it listens on: "+expose, "%s: neither the compose file nor an image on this machine says which ports %s listens on", name, to.Name)
	case len(inImage) > 0: // its default, which the environment or the command can change
		return warningFinding("route", "correct the port in the Caddyfile, or say in the compose file what it listens on: "+expose, "%s: %s is known to listen on %s, and not on %s", name, to.Name, strings.Join(known, ", "), number)
	default:
		return noteFinding("route", "correct the port in the Caddyfile, or add it to expose", "%s: %s exposes %s, and not %s; expose enforces nothing, so this works if it listens there", name, to.Name, strings.Join(known, ", "), number)
	}
}

// dockerDesktopHost is the name of the host in Docker Desktop. Elsewhere it needs an entry in extra_hosts.
const dockerDesktopHost = "host.docker.internal"

// hasExtraHost reports whether the edge's container has a name in its hosts file.
func (s *stack) hasExtraHost(host string) bool {
	return slices.ContainsFunc(s.NetworkOwner(s.edge).ExtraHosts, func(entry string) bool { return strings.HasPrefix(entry, host+"=") })
}

// isExternalHost reports whether a host is no service of the compose file: localhost, an IP address, or a name with dots.
func isExternalHost(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

// isOnExternalNetwork reports whether the edge is on an external network or on the host's, and so can reach containers of other
// compose files.
func (s *stack) isOnExternalNetwork() bool {
	for name := range s.edge.Networks {
		if s.Networks[name].IsExternal() {
			return true
		}
	}
	return s.edge.NetworkMode == "host"
}

// networkNames returns the edge's networks, joined for a hint.
func networkNames(edge *compose.Service) string {
	var names []string
	for name := range edge.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// exposedPorts returns the TCP ports that a service listens on according to expose and ports.
func exposedPorts(s *compose.Service) (ports []string) {
	for _, text := range s.Expose {
		ports = append(ports, expandPorts(text)...)
	}
	for _, p := range s.Ports {
		if p.Protocol == "tcp" {
			ports = append(ports, strconv.Itoa(p.Target))
		}
	}
	return ports
}

// imagePorts returns the TCP ports of EXPOSE in a service's image, or none if the image is not on this machine.
func (c *Check) imagePorts(ctx context.Context, s *stack, of *compose.Service) (ports []string) {
	if !s.hasEngine {
		return nil
	}
	out, _, err := c.Docker.Run(ctx, "image", "inspect", "--format", "{{json .Config.ExposedPorts}}", s.ImageName(of))
	var exposed map[string]any
	if err != nil || json.Unmarshal([]byte(out), &exposed) != nil {
		return nil
	}
	for text := range exposed {
		ports = append(ports, expandPorts(text)...)
	}
	return ports
}

// portVariableName matches variables that set the port on which a program listens.
var portVariableName = regexp.MustCompile(`(?i)(^|_)(port|listen|bind|addr)`)

// mentionsPort reports whether a service's environment, command or health check contains a port.
func mentionsPort(s *compose.Service, number string) bool {
	texts := slices.Concat(s.Entrypoint, s.Command, s.HealthCheck.Test)
	for name, value := range s.Environment {
		if value != nil && portVariableName.MatchString(name) {
			texts = append(texts, *value)
		}
	}
	word := regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(number) + `($|[^0-9.])`)
	return slices.ContainsFunc(texts, word.MatchString)
}

// expandPorts returns the TCP ports of 3000, 3000/tcp or 3000-3002, and none of 3000/udp.
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
