package edge

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalLine reads the line that the dispenser stands on if it is one about a service; ok tells whether it was.
//
//	probe {
//		uri          <paths...>
//		host         <header>
//		status       <code|class>
//		body         <regexp>
//		tcp_fallback
//		interval     <duration>
//		timeout      <duration>
//		rise         <passes>
//		fall         <failures>
//		jitter       <0..1>
//	}
//	hold     <duration>
//	max_held <requests>
func (c *ServiceConfig) UnmarshalLine(d *caddyfile.Dispenser) (ok bool, err error) {
	switch d.Val() {
	case "hold":
		return true, durationArg(d, &c.Hold)
	case "max_held":
		return true, CountArg(d, &c.MaxHeld)
	case "probe":
		if d.NextArg() {
			return true, d.Err("probe: want a block: probe { uri /health }")
		}
		c.Probe = new(Probe)
		return true, c.Probe.UnmarshalBlock(d)
	}
	return false, nil
}

// UnmarshalBlock reads the probe's block.
func (p *Probe) UnmarshalBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.unmarshalLine(d); err != nil {
			return err
		}
	}
	if err := p.Check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (p *Probe) unmarshalLine(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "uri":
		return someArgs(d, &p.URIs)
	case "host":
		return oneArg(d, &p.Host)
	case "status":
		return oneArg(d, &p.Status)
	case "body":
		return oneArg(d, &p.Body)
	case "tcp_fallback":
		p.TCPFallback = true
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "interval":
		return durationArg(d, &p.Interval)
	case "timeout":
		return durationArg(d, &p.Timeout)
	case "rise":
		return CountArg(d, &p.Rise)
	case "fall":
		return CountArg(d, &p.Fall)
	case "jitter":
		var text string
		if err := oneArg(d, &text); err != nil {
			return err
		}
		j, err := strconv.ParseFloat(text, 64)
		if err != nil || !(j >= 0 && j <= 1) { // NaN is neither
			return d.Errf("jitter %q: want a part of the interval, 0 to 1", text)
		}
		p.Jitter = j
		if j == 0 {
			p.Jitter = -1 // in JSON, 0 is the default
		}
		return nil
	default:
		return d.Errf("probe: unknown option %q; there are uri, host, status, body, tcp_fallback, interval, timeout, rise, fall and jitter", name)
	}
}
