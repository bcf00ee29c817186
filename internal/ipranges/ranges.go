// Package ipranges reads ranges of IP addresses, and tells which addresses are in them.
package ipranges

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Set is a set of addresses, as ranges.
type Set []netip.Prefix

// Private has the ranges of addresses that no client on the Internet has: private ones (RFC 1918, RFC 4193), and loopback.
func Private() Set {
	return Set{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::1/128"),
	}
}

// Parse reads a range, such as 10.0.0.0/8, or one address. IPv4 addresses that are written as IPv6 (::ffff:10.0.0.1) become IPv4, and zones
// (fe80::1%eth0) do not count.
func Parse(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && !strings.Contains(addr.Zone(), "/") {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a range", text)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// Contains reports whether an address is in the set. What it says of an IPv4 address that is written as IPv6 is what it says of the IPv4 address.
func (s Set) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(s, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ContainsText is [Set.Contains] for the text of an address. What is no address is in no set.
func (s Set) ContainsText(addr string) bool {
	parsed, err := netip.ParseAddr(addr)
	return err == nil && s.Contains(parsed)
}
