package ratelimit

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("rate_limit", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		var handler Handler
		return &handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
	// Before basic_auth, so that it limits log-ins, and before the directives that respond.
	httpcaddyfile.RegisterDirectiveOrder("rate_limit", httpcaddyfile.Before, "basic_auth")
}

// UnmarshalCaddyfile reads the directive. Syntax:
//
//	rate_limit [<matcher>] {
//		zone <name> {
//			key         <client_ip|host|header:NAME...>          # client_ip
//			events      <requests>
//			window      <duration>
//			burst       <requests>                               # events
//			allow       <addresses and ranges...>|private_ranges
//			ipv6_prefix <bits>                                   # 64
//			max_keys    <keys>                                   # 100000
//			dry_run
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("rate_limit: takes no argument but a matcher, got %q", d.Val())
	}
	for d.NextBlock(0) {
		if d.Val() != "zone" {
			return d.Errf("rate_limit: unknown subdirective %q; there is zone", d.Val())
		}
		z := new(Zone)
		if !d.AllArgs(&z.Name) {
			return d.Err("rate_limit: zone: want a name")
		}
		for _, other := range h.Zones {
			if other.Name == z.Name {
				return d.Errf("rate_limit: zone %s is configured twice", z.Name)
			}
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			if err := z.unmarshalLine(d); err != nil {
				return err
			}
		}
		if _, err := z.parse(); err != nil {
			return d.WrapErr(err)
		}
		h.Zones = append(h.Zones, z)
	}
	if len(h.Zones) == 0 {
		return d.Err("rate_limit: want at least one zone, with events and window on lines of their own")
	}
	return nil
}

func (z *Zone) unmarshalLine(d *caddyfile.Dispenser) error {
	name := d.Val()
	args := d.RemainingArgs()
	switch name {
	case "key":
		z.Key = append(z.Key, args...)
	case "allow":
		z.Allow = append(z.Allow, args...)
	case "dry_run":
		z.DryRun = true
		if len(args) > 0 {
			return d.Err("rate_limit: dry_run takes no value")
		}
		return nil
	}
	if len(args) == 0 {
		return d.Errf("rate_limit: %s: want a value", name)
	}
	if name == "key" || name == "allow" {
		return nil
	}
	if len(args) > 1 {
		return d.Errf("rate_limit: %s: want one value", name)
	}
	numbers := map[string]*int{"events": &z.Events, "burst": &z.Burst, "ipv6_prefix": &z.IPv6Prefix, "max_keys": &z.MaxKeys}
	switch number, isNumber := numbers[name]; {
	case isNumber:
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return d.Errf("rate_limit: %s %q: want a number, at least 1", name, args[0])
		}
		*number = n
	case name == "window":
		window, err := caddy.ParseDuration(args[0])
		if err != nil || window < time.Millisecond {
			return d.Errf("rate_limit: window %q: want a duration, such as 1s, 5m or 1h", args[0])
		}
		z.Window = caddy.Duration(window)
	default:
		return d.Errf("rate_limit: unknown subdirective %q; there are key, events, window, burst, allow, ipv6_prefix, max_keys and dry_run", name)
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
