package presets

import (
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/matchers"
	"github.com/theworklabs/edge/modules/proxy"
	"github.com/theworklabs/edge/modules/service"
)

func init() {
	for name, newPreset := range map[string]func() preset{"bigcapital": bigcapital, "corteza": corteza, "container_registry": containerRegistry} {
		httpcaddyfile.RegisterDirective(name, func(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
			return parsePreset(h, newPreset())
		})
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "reverse_proxy")
	}
}

// parsePreset reads a preset's directive. The presets differ in the names of their backends. Syntax:
//
//	bigcapital [<matcher>] {
//		server           <service:port>
//		webapp           <service:port>
//		block            <paths...>|off
//		max_body         <size>|off
//		response_timeout <duration>|off
//		hold             <duration>
//		max_held         <requests>
//		affinity         <socketio|cookie...>|off   # of the first backend, the only one with state
//		limit login|all  <events> <window> [<burst>]|off
//		limit allow      <addresses and ranges...>
//		limit off
//		origins          <origins...>|any           # other sites whose pages may open WebSockets
//		security_headers off
//		security_headers {
//			…            # see modules/securityheaders
//		}
//		probe <backend> {
//			…            # see modules/edge
//		}
//		account pull|push|admin <name> <password hash>   # of container_registry
//	}
func parsePreset(h httpcaddyfile.Helper, p preset) ([]httpcaddyfile.ConfigValue, error) {
	matcher, d, position, err := proxy.ParseMatcher(h)
	if err != nil {
		return nil, err
	}
	p.defaultService = p.backends[0].service
	if d.NextArg() {
		return nil, d.Errf("%s: takes no argument but a matcher, got %q", p.name, d.Val())
	}
	for d.NextBlock(0) {
		if err := p.unmarshalLine(d); err != nil {
			return nil, err
		}
	}
	if p.accounts != nil && len(*p.accounts) == 0 {
		return nil, d.Errf("%s: want at least one account: account pull|push|admin <name> <password hash>", p.name)
	}
	for _, b := range p.backends {
		if err := service.Declare(h, b.service, b.config, position); err != nil {
			return nil, err // it has the positions of both directives
		}
	}
	return h.NewRoute(matcher, &caddyhttp.Subroute{Routes: p.routes()}), nil
}

func (p *preset) unmarshalLine(d *caddyfile.Dispenser) error {
	name := d.Val()
	if name == "account" && p.accounts != nil {
		return p.accounts.unmarshalLine(d)
	}
	switch name {
	case "hold", "max_held":
		return p.unmarshalHold(d)
	case "probe":
		return p.unmarshalProbe(d)
	case "affinity":
		return proxy.UnmarshalAffinity(d, &p.backends[0].affinity)
	case "limit":
		return p.limits.unmarshalLine(d)
	case "origins":
		return p.allowedOrigins.unmarshalLine(d)
	case "security_headers":
		return p.headers.UnmarshalLine(d)
	}
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s: %s: want a value", p.name, name)
	}
	if name == "block" {
		return p.unmarshalBlockedPaths(d, args)
	}
	if b := p.backend(name); b != nil {
		var err error
		if b.service, err = service.ParseNames(args); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
	if len(args) > 1 {
		return d.ArgErr()
	}
	return p.unmarshalValue(d, name, args[0])
}

// unmarshalHold reads the line `hold` or `max_held`, and applies it to all backends.
func (p *preset) unmarshalHold(d *caddyfile.Dispenser) error {
	var all service.Config
	if _, err := all.UnmarshalLine(d); err != nil {
		return err
	}
	for i := range p.backends {
		c := &p.backends[i].config
		c.Hold, c.MaxHeld = max(all.Hold, c.Hold), max(all.MaxHeld, c.MaxHeld)
	}
	return nil
}

// unmarshalProbe reads the block `probe`, which replaces a backend's probe. A preset with one backend needs no name before the block.
func (p *preset) unmarshalProbe(d *caddyfile.Dispenser) error {
	b := &p.backends[0]
	args := d.RemainingArgs()
	switch {
	case len(args) == 1:
		if b = p.backend(args[0]); b == nil {
			return d.Errf("probe %s: there are %s", args[0], strings.Join(p.backendNames(), " and "))
		}
	case len(args) > 1 || len(p.backends) > 1:
		return d.Errf("probe: want the name of the service before the block: probe %s", strings.Join(p.backendNames(), " or probe "))
	}
	b.config.Probe = new(service.Probe)
	return b.config.Probe.UnmarshalBlock(d)
}

func (p *preset) unmarshalBlockedPaths(d *caddyfile.Dispenser, paths []string) error {
	if len(paths) == 1 && paths[0] == "off" {
		p.blockedPaths = nil
		return nil
	}
	for _, path := range paths {
		if !strings.HasPrefix(path, "/") {
			return d.Errf("block %q: want a path that begins with /", path)
		}
	}
	p.blockedPaths = paths
	return nil
}

func (p *preset) unmarshalValue(d *caddyfile.Dispenser, name, value string) error {
	switch name {
	case "max_body":
		if value == "off" {
			p.maxBody = 0
			return nil
		}
		size, err := matchers.ParseSize(value)
		if err != nil {
			return d.Errf("max_body %v, or off", err)
		}
		p.maxBody = size
	case "response_timeout":
		if value == "off" {
			p.responseTimeout = 0
			return nil
		}
		var parsed caddy.Duration
		if err := service.ParseDuration(d, value, &parsed); err != nil {
			return err
		}
		p.responseTimeout = time.Duration(parsed)
	default:
		more := ""
		if p.accounts != nil {
			more = "account, "
		}
		return d.Errf("%s: unknown subdirective %q; there are %s, %sblock, max_body, response_timeout, hold, max_held, affinity, limit, origins, security_headers and probe",
			p.name, name, strings.Join(p.backendNames(), ", "), more)
	}
	return nil
}

// backend returns the backend with a name, or nil.
func (p *preset) backend(name string) *backend {
	i := slices.IndexFunc(p.backends, func(b backend) bool { return b.name == name })
	if i < 0 {
		return nil
	}
	return &p.backends[i]
}

func (p *preset) backendNames() []string {
	names := make([]string, len(p.backends))
	for i, b := range p.backends {
		names[i] = b.name
	}
	return names
}
