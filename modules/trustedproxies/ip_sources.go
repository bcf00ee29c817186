// Package trustedproxies has lists of proxies for `trusted_proxies`: the server takes the client's address from what they send.
package trustedproxies

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(Private{})
	caddy.RegisterModule(new(Cloudflare))
}

// Private trusts all private addresses (RFC 1918, RFC 4193, loopback), for an edge behind a load balancer on the same network.
//
// It is safe only if no client outside can reach the edge from a private address. Behind Docker's userland proxy, all clients
// have one: see docs/client-addresses.md.
type Private struct{ rangeList }

// CaddyModule returns the Caddy module information.
func (Private) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.ip_sources.private", New: func() caddy.Module { return new(Private) }}
}

// Provision parses the ranges.
func (p *Private) Provision(caddy.Context) error { return p.parseRanges(caddyhttp.PrivateRangesCIDR()) }

// rangeList is a built-in list of ranges, and those that the configuration adds.
type rangeList struct {
	// More addresses or ranges to trust: `192.0.2.10`, `2001:db8::/48`.
	Extra []string `json:"and,omitempty"`

	ranges []netip.Prefix
}

// GetIPRanges implements caddyhttp.IPRangeSource.
func (l *rangeList) GetIPRanges(*http.Request) []netip.Prefix { return l.ranges }

// UnmarshalCaddyfile reads the source's line. Syntax:
//
//	trusted_proxies private|cloudflare [<addresses and ranges...>]
func (l *rangeList) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the source's name
	for d.NextArg() {
		if _, err := caddyhttp.CIDRExpressionToPrefix(d.Val()); err != nil {
			return d.Errf("trusted_proxies: %q is not an address or a range, such as 192.0.2.10 or 2001:db8::/48", d.Val())
		}
		l.Extra = append(l.Extra, d.Val())
	}
	return nil
}

func (l *rangeList) parseRanges(builtIn []string) error {
	for _, text := range append(builtIn[:len(builtIn):len(builtIn)], l.Extra...) {
		prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
		if err != nil {
			return fmt.Errorf("trusted proxy %q: want an address such as 192.0.2.10, or a range such as 2001:db8::/48", text)
		}
		l.ranges = append(l.ranges, prefix)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Private)(nil)
	_ caddy.Provisioner       = (*Cloudflare)(nil)
	_ caddyfile.Unmarshaler   = (*Private)(nil)
	_ caddyfile.Unmarshaler   = (*Cloudflare)(nil)
	_ caddyhttp.IPRangeSource = (*Private)(nil)
	_ caddyhttp.IPRangeSource = (*Cloudflare)(nil)
)
