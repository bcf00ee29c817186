package ratelimit

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// allowList is the ranges of clients that a zone does not count.
type allowList []netip.Prefix

// parseAllowList parses addresses, ranges, and `private_ranges`.
func parseAllowList(texts []string) (allowList, error) {
	var list allowList
	for _, text := range texts {
		ranges := []string{text}
		if text == "private_ranges" {
			ranges = caddyhttp.PrivateRangesCIDR()
		}
		for _, text := range ranges {
			prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
			if err != nil {
				return nil, fmt.Errorf("allow %q: want an address, a range such as 192.0.2.0/24, or private_ranges", text)
			}
			if prefix.Addr().Is4In6() { // the clients' addresses are unmapped before the comparison
				if prefix.Bits() < 96 {
					return nil, fmt.Errorf("allow %q: want an IPv4 range or an IPv6 range, not an IPv4-mapped one", text)
				}
				prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
			}
			list = append(list, prefix.Masked())
		}
	}
	return list, nil
}

// contains reports whether the request's client is on the list.
func (l allowList) contains(r *http.Request) bool {
	if len(l) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(clientIP(r))
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	for _, prefix := range l {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// clientIP returns the client's address as the server determines it, which believes trusted proxies only.
func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}
