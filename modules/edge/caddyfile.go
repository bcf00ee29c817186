package edge

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/theworklabs/edge/internal/registry"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("edge", parseOption)
}

func parseOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("the edge option is already given; put everything into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "edge", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option. Syntax, with the defaults:
//
//	edge {
//		endpoint      <unix:///path|tcp://host:port>   # none: DNS alone
//		project       <compose project>                # the edge's own
//		network       <networks...>                    # those the edge is attached to
//		resolver      <address:port>                   # 127.0.0.11:53
//		refresh       <duration>                       # 1s
//		hold          <duration>                       # 60s
//		max_held      <requests per service>           # 1000
//		max_held_per_client <requests>|off             # a tenth of max_held, at least 10
//		keep_headers  <names...>                       # none
//		static        <service:port> <address:port...>
//		stop_signals  <signals...>                     # none
//		drain_timeout <duration>                       # 60s
//		close_window  <duration>                       # 5s
//		affinity_secret <secret>                       # one is made and kept
//	}
//
// An empty value, as an unset environment variable leaves it, is the default.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := a.unmarshalLine(d); err != nil {
			return err
		}
		// what the line says is checked here, where file and line are known
		if err := a.check(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (a *App) unmarshalLine(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "endpoint":
		return stringArg(d, &a.DockerHost)
	case "project":
		return stringArg(d, &a.Project)
	case "affinity_secret":
		return stringArg(d, &a.AffinitySecret)
	case "resolver":
		return stringArg(d, &a.Resolver)
	case "network":
		return stringArgs(d, &a.Networks)
	case "stop_signals":
		return stringArgs(d, &a.StopSignals)
	case "refresh":
		return durationArg(d, &a.Refresh)
	case "hold":
		return durationArg(d, &a.Hold)
	case "close_window":
		return durationArg(d, &a.CloseWindow)
	case "drain_timeout":
		return durationArg(d, &a.TerminatingTimeout)
	case "max_held":
		return CountArg(d, &a.MaxHeld)
	case "max_held_per_client":
		return countOrOff(d, &a.MaxHeldPerClient)
	case "keep_headers":
		return stringArgs(d, &a.KeepHeaders)
	case "static":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.Err("static: want a service and at least one address, such as bigcapital-server:3000 127.0.0.1:3001")
		}
		if _, _, err := registry.ParseName(args[0]); err != nil {
			return d.WrapErr(err)
		}
		if _, twice := a.Static[args[0]]; twice {
			return d.Errf("static: %s is given twice; put all its addresses into one line", args[0])
		}
		if a.Static == nil {
			a.Static = make(map[string][]string)
		}
		a.Static[args[0]] = args[1:]
		return nil
	default:
		return d.Errf("edge: unknown option %q; there are endpoint, project, network, resolver, refresh, hold, max_held, max_held_per_client, keep_headers, static, stop_signals, drain_timeout, close_window and affinity_secret", name)
	}
}

func stringArg(d *caddyfile.Dispenser, to *string) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.ArgErr()
	}
	*to = args[0]
	return nil
}

func stringArgs(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	for _, arg := range args {
		if arg != "" {
			*to = append(*to, arg)
		}
	}
	return nil
}

func durationArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := stringArg(d, &text); err != nil || text == "" {
		return err
	}
	return ParseDuration(d, text, to)
}

// ParseDuration reads a duration that must be positive, such as 60s, 5m or 1d.
func ParseDuration(d *caddyfile.Dispenser, text string, to *caddy.Duration) error {
	value, err := caddy.ParseDuration(text)
	if err != nil || value <= 0 {
		return d.Errf("%q: want a positive duration, such as 500ms, 60s or 5m", text)
	}
	*to = caddy.Duration(value)
	return nil
}

// countOrOff reads a number; off is stored as a negative one, since 0 is the default.
func countOrOff(d *caddyfile.Dispenser, to *int) error {
	text := d.RemainingArgs()
	if len(text) == 1 && text[0] == "off" {
		*to = -1
		return nil
	}
	if len(text) != 1 {
		return d.ArgErr()
	}
	if text[0] == "" {
		return nil
	}
	return parseCount(d, text[0], to)
}

// CountArg reads the line's only argument as a positive number; an empty one leaves the default.
func CountArg(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := stringArg(d, &text); err != nil || text == "" {
		return err
	}
	return parseCount(d, text, to)
}

func parseCount(d *caddyfile.Dispenser, text string, to *int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return d.Errf("%q: want a number above 0", text)
	}
	*to = n
	return nil
}
