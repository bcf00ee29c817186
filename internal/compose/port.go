package compose

import (
	"net/netip"
	"strconv"
	"strings"
)

// Port is a port of a container that a service publishes on this machine, the host.
type Port struct {
	Target    int    `json:"target"`    // in the container
	Published string `json:"published"` // "8080", "8000-8009", or "" or "0" if Docker chooses any port of the host
	HostIP    string `json:"host_ip"`   // "" is all addresses of the host
	Protocol  string `json:"protocol"`  // tcp or udp; [ParseStack] sets tcp if it is not given
}

// HostRange returns the first and the last port of the host of which Docker takes one. Both are 0 if Docker chooses any port.
func (p Port) HostRange() (first, last int) {
	from, to, isRange := strings.Cut(p.Published, "-")
	lower, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return 0, 0
	}
	if !isRange {
		return int(lower), int(lower)
	}
	upper, err := strconv.ParseUint(to, 10, 16)
	if err != nil {
		return 0, 0
	}
	return int(lower), int(upper)
}

// IsFixed reports whether the port of the host is one that the compose file names.
func (p Port) IsFixed() bool {
	first, last := p.HostRange()
	return first != 0 && first == last
}

// Capacity returns how many containers can publish the port on one host. It is 65536 if Docker chooses any port, and 1 if the
// published range cannot be read.
func (p Port) Capacity() int {
	switch first, last := p.HostRange(); {
	case first != 0 && last >= first:
		return last - first + 1
	case p.Published == "" || p.Published == "0":
		return 1 << 16
	default:
		return 1
	}
}

// Overlaps reports whether a host cannot publish both of two fixed ports. An unspecified address (0.0.0.0 or ::) contains each
// address of its family, and an empty address contains all of both families.
func (p Port) Overlaps(other Port) bool {
	if !p.IsFixed() || !other.IsFixed() || p.Published != other.Published || p.Protocol != other.Protocol {
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
