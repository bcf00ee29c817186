// Package discovery finds the containers of each service and writes them to the registry.
//
// It has four sources, which implement [Source] and pass one conformance suite: the Docker [Engine] (a list and events), a Docker [Swarm]
// (polls of a manager), [DNS] (lookups in the background) and a [Static] list. The source of package kubernetes passes it too, and uses a
// [Directory]. The request path never waits for any of them.
package discovery

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/theworklabs/edge/internal/registry"
)

// Source watches one system that knows containers.
type Source interface {
	// Run writes what it sees to sink until ctx ends, and returns only then. The watched system may be absent, slow, restarting
	// or refuse access: Run waits, retries, and never writes what it did not see.
	// For each name, the last Set has the current members; a name that no container has any more is set to no members.
	Run(ctx context.Context, sink Sink)
}

// Sink receives what a source sees. [registry.Feed] is a sink.
type Sink interface {
	// Set replaces the members of a name.
	Set(name string, members []registry.Member)
	// Withdraw says that the source has seen nothing for so long that the members of the name are no longer valid.
	Withdraw(name string)
	// SetProblem sets what the operator must fix about a name; "" clears it.
	SetProblem(name, text string)
	// SetOnline says whether the source is in contact with the watched system, as soon as the source knows. It goes online only
	// after it has Set all names.
	SetOnline(online bool)
}

// Names are the names that a source looks up.
type Names interface {
	Hosts() []string               // the hosts of all services
	LookupRequests() <-chan string // hosts to look up at once
}

// LocalSubnets returns the subnets that this machine, or container, has an address in, without loopback and link-local ones. It
// reaches them without a router, so the containers of its networks have their addresses there. While they cannot be listed, which takes a descriptor, it returns
// those of the last time: without them, all containers would be out of reach.
func LocalSubnets() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		if last := lastSubnets.Load(); last != nil {
			return *last
		}
		return nil
	}
	var subnets []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			subnets = append(subnets, p)
		}
	}
	lastSubnets.Store(&subnets)
	return subnets
}

var lastSubnets atomic.Pointer[[]netip.Prefix]

// inSubnets reports whether addr is in one of the subnets.
func inSubnets(addr netip.Addr, subnets []netip.Prefix) bool {
	for _, p := range subnets {
		if p.Masked().Contains(addr) {
			return true
		}
	}
	return false
}
