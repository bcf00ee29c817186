package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// portBinding is one port of the host that one container of a service takes.
type portBinding struct {
	service string
	port    port
}

// portBindings returns the ports of the host that the services in use take. A service on the host's network takes what it listens on,
// which is known of the edge alone, by its configuration.
func portBindings(s *stack, config *edgeConfig) []portBinding {
	var all []portBinding
	for _, service := range s.activeServices() {
		switch {
		case service.NetworkMode == "host" && service == s.edge && config != nil:
			for _, address := range config.listenAddresses {
				host, number, err := net.SplitHostPort(address)
				if p := (port{HostIP: host, Published: number}); err == nil && p.isFixed() {
					all = append(all, portBinding{service.name, p})
				}
			}
		case service.NetworkMode == "host", s.networkOwner(service) != service, service.replicas() == 0:
		default:
			for _, p := range service.Ports {
				all = append(all, portBinding{service.name, p})
			}
		}
	}
	return all
}

// checkPortConflicts reports ports of the host that the stack takes more than once, and returns their keys: two services, one service twice,
// which an override file does easily, or several replicas of one.
func checkPortConflicts(s *stack, config *edgeConfig) (all []Finding, contested map[string]bool) {
	taken := portBindings(s, config)
	contested = make(map[string]bool)
	for i, b := range taken {
		if needed, offered := s.Services[b.service].replicas(), b.port.capacity(); needed > offered && offered > 0 {
			all = append(all, errorFinding("port", fmt.Sprintf("publish a range of at least %d ports, or no port of %s: the edge reaches each replica without", needed, b.service), "%s has %d replicas and publishes %s: only %d can start", b.service, needed, b.port.describe(), offered))
			contested[b.port.key()] = true
		}
		if by := b.port.exhaustedBy(b.service, taken); by != "" {
			all = append(all, errorFinding("port", "publish other ports of the host there, or fewer of "+by, "%s publishes %s, and %s takes all of them: it can not start", b.service, b.port.describe(), by))
			contested[b.port.key()] = true
		}
		same := slices.IndexFunc(taken[:i], func(other portBinding) bool { return b.port.overlaps(other.port) })
		if same < 0 {
			continue
		}
		other := taken[same]
		contested[b.port.key()], contested[other.port.key()] = true, true
		if other.service == b.service {
			all = append(all, errorFinding("port", "name it once; an override file adds to ports unless it says ports: !override", "%s publishes %s twice", b.service, b.port))
			continue
		}
		all = append(all, errorFinding("port", "take it out of ports of "+s.otherThanEdge(other.service, b.service)+", or publish another port of the host there", "%s and %s both publish %s: only one of them can start", other.service, b.service, b.port))
	}
	return all, contested
}

// otherThanEdge returns the one of two services that is not the edge.
func (s *stack) otherThanEdge(a, b string) string {
	if b == s.edge.name {
		return a
	}
	return b
}

// key identifies a port of a host.
func (p port) key() string { return strings.Join([]string{p.HostIP, p.Published, p.protocol()}, " ") }

// capacity returns how many containers can publish the port; 0 is any number.
func (p port) capacity() int {
	first, last := p.hostRange()
	if first == 0 {
		return 0
	}
	return int(last-first) + 1
}

// exhaustedBy returns the services that take every port of a range, or "".
func (p port) exhaustedBy(service string, taken []portBinding) string {
	first, last := p.hostRange()
	if first == 0 || first == last {
		return ""
	}
	var by []string
	for number := first; number <= last; number++ {
		one := p
		one.Published = strconv.Itoa(int(number))
		i := slices.IndexFunc(taken, func(b portBinding) bool { return b.service != service && one.overlaps(b.port) })
		if i < 0 {
			return ""
		}
		if !slices.Contains(by, taken[i].service) {
			by = append(by, taken[i].service)
		}
	}
	return strings.Join(by, ", ")
}

// overlaps reports whether two fixed ports can't be published on one host. An address of all interfaces includes each of its family,
// and no address is all of both.
func (p port) overlaps(other port) bool {
	if !p.isFixed() || !other.isFixed() || p.Published != other.Published || p.protocol() != other.protocol() {
		return false
	}
	a, aErr := netip.ParseAddr(p.HostIP)
	b, bErr := netip.ParseAddr(other.HostIP)
	switch {
	case aErr != nil || bErr != nil:
		return true
	case a.Is4() != b.Is4():
		return false
	}
	return a == b || a.IsUnspecified() || b.IsUnspecified()
}
