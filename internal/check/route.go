package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// routes looks for each service of the configuration in the compose file: that it is there and in use, exposes the port, and
// is on a network with the edge.
func (c *Check) routes(ctx context.Context, s *stack, config *config) []Finding {
	var all []Finding
	for _, name := range config.services {
		all = append(all, c.route(ctx, s, config, name))
	}
	return all
}

func (c *Check) route(ctx context.Context, s *stack, config *config, name string) Finding {
	host, number, err := net.SplitHostPort(name)
	if err != nil {
		return failure("route", "name a service and its port, such as bigcapital-server:3000", "%s: %v", name, err)
	}
	to := s.named(host)
	switch {
	case to == nil && (config.project != "" || s.foreign()):
		return warning("route", "see that it is there: docker ps", "%s: %s is not in this compose file, and was not looked at: the edge is on networks of others", name, host)
	case to == nil:
		return failure("route", "correct the name in the Caddyfile, or add the service; there are: "+strings.Join(s.active, ", "), "%s: the compose file has no service %s", name, host)
	case !s.used(to.name):
		return failure("route", fmt.Sprintf("add --profile %s, and COMPOSE_PROFILES=%s to .env", to.Profiles[0], to.Profiles[0]), "%s: %s is of the profile %s, which is not in use", name, to.name, strings.Join(to.Profiles, ", "))
	}
	shared := common(s.edge, to)
	switch {
	case s.edge.NetworkMode == "host":
		shared = []string{"the host's networks"}
	case to.NetworkMode != "":
		return failure("route", "put it on a network of the edge: networks: ["+anyNetwork(s.edge)+"]", "%s: %s has network_mode %s, and so no address for the edge", name, to.name, to.NetworkMode)
	case len(shared) == 0:
		return failure("route", "add "+to.name+" to a network of the edge: "+anyNetwork(s.edge), "%s: %s and %s have no network in common", name, to.name, c.Edge)
	}
	exposed := c.exposed(ctx, s, to)
	say := fmt.Sprintf("say in the compose file what it listens on: expose: [%q]", number)
	switch {
	case slices.Contains(exposed, number):
		return ok("route", "%s: %s exposes it on %s", name, to.name, strings.Join(shared, ", "))
	case len(exposed) == 0:
		return warning("route", say, "%s: neither the compose file nor the image says which ports %s listens on", name, to.name)
	case len(to.Expose) > 0:
		return failure("route", "correct the port in the Caddyfile, or add it to expose", "%s: %s exposes %s, and not %s", name, to.name, strings.Join(exposed, ", "), number)
	default: // what an image exposes may be what it listens on unless told otherwise
		return warning("route", "correct the port in the Caddyfile, or "+say, "%s: of %s only %s is known, and not %s", name, to.name, strings.Join(exposed, ", "), number)
	}
}

// foreign reports whether the edge is on networks that others make, where containers of other compose files can be.
func (s *stack) foreign() bool {
	for name := range s.edge.Networks {
		if s.Networks[name].external() {
			return true
		}
	}
	return s.edge.NetworkMode == "host"
}

// anyNetwork returns the edge's networks for a hint.
func anyNetwork(edge *service) string {
	var names []string
	for name := range edge.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// exposed returns the TCP ports that the compose file or the image says a service listens on.
func (c *Check) exposed(ctx context.Context, s *stack, of *service) (ports []string) {
	for _, text := range of.Expose {
		ports = append(ports, expand(text)...)
	}
	for _, p := range of.Ports {
		if p.Protocol != "udp" {
			ports = append(ports, strconv.Itoa(p.Target))
		}
	}
	if s.engine {
		out, _, err := c.Docker.Run(ctx, "image", "inspect", "--format", "{{json .Config.ExposedPorts}}", of.Image)
		var exposed map[string]any
		if err == nil && json.Unmarshal([]byte(out), &exposed) == nil { // else it is not pulled yet
			for text := range exposed {
				ports = append(ports, expand(text)...)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// expand reads 3000, 3000/tcp and 3000-3002; UDP is none.
func expand(text string) (ports []string) {
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
