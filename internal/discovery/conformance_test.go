package discovery_test

import (
	"net/netip"
	"testing"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

func TestSourceConformance(t *testing.T) {
	for name, build := range map[string]func(t *testing.T) sourcetest.Environment{
		"engine": func(t *testing.T) sourcetest.Environment { return newFakeEngine(t) },
		"swarm":  func(t *testing.T) sourcetest.Environment { return newFakeSwarm(t) },
		"dns":    func(t *testing.T) sourcetest.Environment { return newFakeDNS(t) },
		"static": func(*testing.T) sourcetest.Environment { return new(fakeStatic) },
	} {
		t.Run(name, func(t *testing.T) { sourcetest.Run(t, build) })
	}
}

// subnets are those of an edge at 10.0.0.2.
func subnets() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")} }

// fakeStatic is the environment of a static list.
type fakeStatic struct{ addrs []netip.AddrPort }

func (f *fakeStatic) NewSource() discovery.Source { return discovery.Static{"api:80": f.addrs} }
func (f *fakeStatic) SetAddrs(addrs ...string) {
	f.addrs = nil
	for _, a := range addrs {
		f.addrs = append(f.addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
	}
}
func (*fakeStatic) GoDown()        {}
func (*fakeStatic) GoUp()          {}
func (*fakeStatic) IsStatic() bool { return true }
