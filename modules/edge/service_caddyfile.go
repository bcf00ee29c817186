package edge

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
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
//	hold         <duration>
//	max_held     <requests>
//	max_held_per_client <requests>|off
//	eject        <bad answers> [<base> [<max>]]|off
//	slow_start   <duration>|off
//	retry_budget <percent>|off
//	close_window <duration>
func (c *ServiceConfig) UnmarshalLine(d *caddyfile.Dispenser) (ok bool, err error) {
	switch d.Val() {
	case "hold":
		return true, durationArg(d, &c.Hold)
	case "max_held":
		return true, CountArg(d, &c.MaxHeld)
	case "max_held_per_client":
		return true, countOrOff(d, &c.MaxHeldPerClient)
	case "eject":
		c.Eject = new(Ejection)
		return true, c.Eject.unmarshalLine(d)
	case "slow_start":
		return true, durationOrOff(d, &c.SlowStart)
	case "retry_budget":
		return true, percentOrOff(d, &c.RetryBudget)
	case "close_window":
		return true, durationArg(d, &c.CloseWindow)
	case "probe":
		if d.NextArg() {
			return true, d.Err("probe: want a block, with uri /health on a line of its own")
		}
		c.Probe = new(Probe)
		return true, c.Probe.UnmarshalBlock(d)
	}
	return false, nil
}

// ServiceOptions are the names of the lines that [ServiceConfig.UnmarshalLine] reads.
var ServiceOptions = []string{"probe", "hold", "max_held", "max_held_per_client", "eject", "slow_start", "retry_budget", "close_window"}

func (j *Ejection) unmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 3 {
		return d.ArgErr()
	}
	if args[0] == "off" && len(args) == 1 {
		j.After = -1
		return nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n <= 0 {
		return d.Errf("eject %q: want a number of bad answers in a row, or off", args[0])
	}
	j.After = n
	for i, to := range []*caddy.Duration{&j.Base, &j.Max} {
		if len(args) > i+1 {
			if err := ParseDuration(d, args[i+1], to); err != nil {
				return err
			}
		}
	}
	if j.Max != 0 && j.Max < j.Base {
		return d.Errf("eject: the longest time, %s, is shorter than the first, %s", args[2], args[1])
	}
	return nil
}

// durationOrOff reads a duration; off is stored as a negative one, since 0 is the default.
func durationOrOff(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := stringArg(d, &text); err != nil || text == "" {
		return err
	}
	if text == "off" {
		*to = -1
		return nil
	}
	return ParseDuration(d, text, to)
}

// percentOrOff reads a percentage as a part of 1; off is stored as a negative one, since 0 is the default.
func percentOrOff(d *caddyfile.Dispenser, to *float64) error {
	var text string
	if err := stringArg(d, &text); err != nil || text == "" {
		return err
	}
	if text == "off" {
		*to = -1
		return nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) { // NaN is neither
		return d.Errf("%q: want a percentage, such as 20%%, or off", text)
	}
	*to = n / 100
	return nil
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
		return stringArgs(d, &p.URIs)
	case "host":
		return stringArg(d, &p.Host)
	case "status":
		return stringArg(d, &p.Status)
	case "body":
		return stringArg(d, &p.Body)
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
		if err := stringArg(d, &text); err != nil {
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
