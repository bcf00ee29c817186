package service

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalLine reads the line that the dispenser is on, and reports whether it is one of [Options]. Syntax:
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
//	hold         <duration>
//	max_held     <requests>
//	max_held_per_client <requests>|off
//	eject        <failures> [<base> [<max>]]|off
//	slow_start   <duration>|off
//	retry_budget <percent>|off
//	close_window <duration>
func (c *Config) UnmarshalLine(d *caddyfile.Dispenser) (ok bool, err error) {
	switch d.Val() {
	case "hold":
		return true, DurationArg(d, &c.Hold)
	case "max_held":
		return true, CountArg(d, &c.MaxHeld)
	case "max_held_per_client":
		return true, CountOrOffArg(d, &c.MaxHeldPerClient)
	case "eject":
		c.Eject = new(Ejection)
		return true, c.Eject.unmarshalLine(d)
	case "slow_start":
		return true, durationOrOffArg(d, &c.SlowStart)
	case "retry_budget":
		return true, percentOrOffArg(d, &c.RetryBudget)
	case "close_window":
		return true, DurationArg(d, &c.CloseWindow)
	case "probe":
		if d.NextArg() {
			return true, d.Err("probe: want a block, with uri /health on a line of its own")
		}
		c.Probe = new(Probe)
		return true, c.Probe.UnmarshalBlock(d)
	}
	return false, nil
}

// Options are the names of the options that [Config.UnmarshalLine] reads.
var Options = []string{"probe", "hold", "max_held", "max_held_per_client", "eject", "slow_start", "retry_budget", "close_window"}

func (e *Ejection) unmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 3 {
		return d.ArgErr()
	}
	if args[0] == "off" && len(args) == 1 {
		e.After = -1
		return nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n <= 0 {
		return d.Errf("eject %q: want a number of failures in a row, or off", args[0])
	}
	e.After = n
	for i, to := range []*caddy.Duration{&e.Base, &e.Max} {
		if len(args) > i+1 {
			if err := ParseDuration(d, args[i+1], to); err != nil {
				return err
			}
		}
	}
	if e.Max != 0 && e.Max < e.Base {
		return d.Errf("eject: the longest time, %s, is shorter than the first, %s", args[2], args[1])
	}
	return nil
}

// UnmarshalBlock reads the block of the option `probe`, and validates the probe at its end.
func (p *Probe) UnmarshalBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.unmarshalLine(d); err != nil {
			return err
		}
	}
	if err := p.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (p *Probe) unmarshalLine(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "uri":
		return StringArgs(d, &p.URIs)
	case "host":
		return StringArg(d, &p.Host)
	case "status":
		return StringArg(d, &p.Status)
	case "body":
		return StringArg(d, &p.Body)
	case "tcp_fallback":
		p.TCPFallback = true
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "interval":
		return DurationArg(d, &p.Interval)
	case "timeout":
		return DurationArg(d, &p.Timeout)
	case "rise":
		return CountArg(d, &p.Rise)
	case "fall":
		return CountArg(d, &p.Fall)
	case "jitter":
		var text string
		if err := StringArg(d, &text); err != nil {
			return err
		}
		jitter, err := strconv.ParseFloat(text, 64)
		if err != nil || !(jitter >= 0 && jitter <= 1) { // NaN is neither
			return d.Errf("jitter %q: want a fraction of the interval, from 0 to 1", text)
		}
		p.Jitter = jitter
		if jitter == 0 {
			p.Jitter = -1 // in JSON, 0 is the default
		}
		return nil
	default:
		return d.Errf("probe: unknown option %q; there are uri, host, status, body, tcp_fallback, interval, timeout, rise, fall and jitter", name)
	}
}
