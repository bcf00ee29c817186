// Package discovery finds the containers that services stand on and writes them to the registry.
//
// Three sources stand behind one contract, [Source], and pass one conformance suite: the Docker [Engine] (list and
// events), [DNS] (names asked in the background) and a [Static] list. None of them is ever asked on the request path.
package discovery

import (
	"context"
	"net"
	"net/netip"

	"github.com/theworklabs/edge/internal/registry"
)

// Source watches one place that knows containers.
type Source interface {
	// Run writes what it sees to sink until ctx ends, and returns only then. What it watches may be absent, slow,
	// restarting or forbidding: Run waits and tries again, and never writes what it did not see.
	// For each name, the last Set holds what answers to it; a name that vanished is set to no members.
	Run(ctx context.Context, sink Sink)
}

// Sink takes what a source sees. [registry.Feed] is one.
type Sink interface {
	// Set says that name is answered by exactly these members.
	Set(name string, members []registry.Member)
	// Withdraw says that the source could not look for so long that its last word on a name is worth nothing.
	Withdraw(name string)
	// SetProblem notes what the owner must mend about a name; "" clears it.
	SetProblem(name, text string)
	// SetOnline says whether the source is in touch with what it watches, as soon as it knows. It has Set all names before it goes
	// online.
	SetOnline(online bool)
}

// Names is what a source that must ask asks for.
type Names interface {
	Hosts() []string               // all names that services stand on
	LookupRequests() <-chan string // a name to ask for at once
}

// LocalSubnets returns the subnets that this machine, or container, has an address in: what it reaches without a
// router, and so where the containers of its networks are. Loopback is not among them.
func LocalSubnets() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var subnets []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			subnets = append(subnets, p)
		}
	}
	return subnets
}

// inSubnets reports whether addr lies in one of the subnets.
func inSubnets(addr netip.Addr, subnets []netip.Prefix) bool {
	for _, p := range subnets {
		if p.Masked().Contains(addr) {
			return true
		}
	}
	return false
}
