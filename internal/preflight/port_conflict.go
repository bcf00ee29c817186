package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// portBinding is a port of the host that each container of a service takes.
type portBinding struct {
	service string
	port    compose.Port
}

// portBindings returns the ports of the host that the active services take. A service on the host's network takes the ports that it
// listens on; these are known only for the edge, from its configuration.
func portBindings(s *stack, config *edgeConfig) []portBinding {
	var all []portBinding
	for _, service := range s.activeServices() {
		switch {
		case service.NetworkMode == "host" && service == s.edge && config != nil:
			for _, address := range config.listenAddresses {
				for number := address.first; number <= address.last; number++ {
					p := compose.Port{HostIP: address.host, Published: strconv.Itoa(number), Protocol: "tcp"}
					if p.IsFixed() {
						all = append(all, portBinding{service.Name, p})
					}
				}
			}
		case service.NetworkMode == "host", s.NetworkOwner(service) != service, service.Replicas() == 0:
		default:
			for _, p := range service.Ports {
				all = append(all, portBinding{service.Name, p})
			}
		}
	}
	return all
}

// checkPortConflicts reports ports of the host that the stack takes more than once, and returns their keys. Two services can take the
// same port, a service can publish it twice, for example by an override file, and so can its replicas.
func checkPortConflicts(s *stack, config *edgeConfig) (all []Finding, contested map[string]bool) {
	taken := portBindings(s, config)
	contested = make(map[string]bool)
	for i, b := range taken {
		if needed, capacity := s.Services[b.service].Replicas(), b.port.Capacity(); needed > capacity {
			all = append(all, errorFinding("port", fmt.Sprintf("publish a range of at least %d ports, or no port of %s: the edge reaches each replica without one", needed, b.service), "%s has %d replicas and publishes %s: only %d can start", b.service, needed, portText(b.port), capacity))
			contested[portKey(b.port)] = true
		}
		if by := exhaustedBy(b, taken); by != "" {
			all = append(all, errorFinding("port", "publish other ports of the host there, or fewer of "+by, "%s publishes %s, and %s takes all of them: %s cannot start", b.service, portText(b.port), by, b.service))
			contested[portKey(b.port)] = true
		}
		same := slices.IndexFunc(taken[:i], func(other portBinding) bool { return b.port.Overlaps(other.port) })
		if same < 0 {
			continue
		}
		other := taken[same]
		contested[portKey(b.port)], contested[portKey(other.port)] = true, true
		if other.service == b.service {
			all = append(all, errorFinding("port", "name it once; an override file adds to ports unless it says ports: !override", "%s publishes %s twice", b.service, portText(b.port)))
			continue
		}
		all = append(all, errorFinding("port", "take it out of ports of "+s.otherThanEdge(other.service, b.service)+", or publish another port of the host there", "%s and %s both publish %s: only one of them can start", other.service, b.service, portText(b.port)))
	}
	return all, contested
}

// otherThanEdge returns the one of two services that is not the edge.
func (s *stack) otherThanEdge(a, b string) string {
	if b == s.edge.Name || b == s.publisher().Name {
		return a
	}
	return b
}

// portKey identifies a port of the host.
func portKey(p compose.Port) string {
	return strings.Join([]string{p.HostIP, p.Published, p.Protocol}, " ")
}

// exhaustedBy returns the other services that take every port of a binding's range, or "".
func exhaustedBy(b portBinding, taken []portBinding) string {
	first, last := b.port.HostRange()
	if first == 0 || first == last {
		return ""
	}
	var names []string
	for number := first; number <= last; number++ {
		one := b.port
		one.Published = strconv.Itoa(number)
		i := slices.IndexFunc(taken, func(other portBinding) bool { return other.service != b.service && one.Overlaps(other.port) })
		if i < 0 {
			return ""
		}
		if !slices.Contains(names, taken[i].service) {
			names = append(names, taken[i].service)
		}
	}
	return strings.Join(names, ", ")
}
