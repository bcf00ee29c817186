package edge

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/restart"
	"github.com/theworklabs/edge/modules/service"
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
//		docker_host   <unix:///path|tcp://host:port>   # none: DNS alone
//		swarm         true|false                       # false; docker_host leads to managers of a Docker Swarm
//		kubernetes    true|false                       # false; the edge runs in a pod
//		projects      <compose project...>|any         # the edge's own
//		project       <compose project>                # only this one
//		network       <networks...>                    # those that the edge is attached to
//		resolver      <address:port>                   # 127.0.0.11:53
//		refresh       <duration>                       # 1s
//		hold          <duration>                       # 60s
//		max_held      <requests per service>           # 1000
//		max_held_per_client <requests>|off             # a tenth of max_held, at least 10
//		keep_headers  <names...>                       # none
//		static        <service:port> <address:port...>
//		stop_signals  <signals...>                     # none
//		terminating_timeout <duration>                 # 60s
//		restart_unhealthy <duration>|true|false        # false; true is 30s
//		close_window  <duration>                       # 5s
//		shutdown_delay <duration>                      # none
//		affinity_secret <secret>                       # the edge makes and keeps a key
//	}
//
// An empty value, as an unset environment variable leaves it, is the default. The old names endpoint (of docker_host) and
// drain_timeout (of terminating_timeout) are accepted with a warning in the log.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	given := make(map[string]bool) // the names of options in the block so far
	together := *d                 // at the last option that needs another one
	for d.NextBlock(0) {
		if slices.Contains([]string{"swarm", "kubernetes", "restart_unhealthy"}, d.Val()) {
			together = *d
		}
		if err := a.unmarshalLine(d, given); err != nil {
			return err
		}
		// Each line is validated at once, because file and line are known here.
		if err := a.validate(); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := a.validateTogether(); err != nil {
		return together.WrapErr(err)
	}
	return nil
}

func (a *App) unmarshalLine(d *caddyfile.Dispenser, given map[string]bool) error {
	name, err := currentName(d, given)
	if err != nil {
		return err
	}
	switch name {
	case "docker_host":
		return dockerHostArg(d, given["endpoint"], &a.DockerHost)
	case "swarm":
		return flagArg(d, &a.Swarm)
	case "kubernetes":
		return flagArg(d, &a.Kubernetes)
	case "project":
		return service.StringArg(d, &a.Project)
	case "projects":
		var args []string
		if err := service.StringArgs(d, &args); err != nil {
			return err
		}
		for _, arg := range args { // an environment variable may have several
			a.Projects = append(a.Projects, strings.Fields(arg)...)
		}
		return nil
	case "affinity_secret":
		return service.StringArg(d, &a.AffinitySecret)
	case "resolver":
		return service.StringArg(d, &a.Resolver)
	case "network":
		return service.StringArgs(d, &a.Networks)
	case "stop_signals":
		return service.StringArgs(d, &a.StopSignals)
	case "refresh":
		return service.DurationArg(d, &a.Refresh)
	case "hold":
		return service.DurationArg(d, &a.Hold)
	case "close_window":
		return service.DurationArg(d, &a.CloseWindow)
	case "shutdown_delay":
		return service.DurationArg(d, &a.ShutdownDelay)
	case "terminating_timeout":
		return service.DurationArg(d, &a.TerminatingTimeout)
	case "restart_unhealthy":
		return restartArg(d, &a.RestartUnhealthy)
	case "max_held":
		return service.CountArg(d, &a.MaxHeld)
	case "max_held_per_client":
		return service.CountOrOffArg(d, &a.MaxHeldPerClient)
	case "keep_headers":
		return service.StringArgs(d, &a.KeepHeaders)
	case "static":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return d.Err("static: want a service and at least one address, such as bigcapital-server:3000 127.0.0.1:3001")
		}
		if _, err := registry.ParseName(args[0]); err != nil {
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
		return d.Errf("edge: unknown option %q; there are docker_host, swarm, kubernetes, projects, project, network, resolver, refresh, hold, max_held, max_held_per_client, keep_headers, static, stop_signals, restart_unhealthy, terminating_timeout, close_window, shutdown_delay and affinity_secret", name)
	}
}

// flagArg reads whether an option is on; its name alone says so.
func flagArg(d *caddyfile.Dispenser, to *bool) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) > 1 {
		return d.ArgErr()
	}
	switch strings.Join(args, "") {
	case "true":
		*to = true
	case "":
		*to = len(args) == 0 // an empty value, as an unset environment variable leaves it, is the default
	case "false":
	default:
		return d.Errf("%s: %q: want true or false", name, args[0])
	}
	return nil
}

// restartArg reads how long a container must have been unhealthy: a duration, or whether the default applies.
func restartArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	var text string
	if err := service.StringArg(d, &text); err != nil {
		return err
	}
	switch text {
	case "false", "":
		return nil
	case "true":
		*to = caddy.Duration(restart.DefaultAfter)
		return nil
	}
	after, err := caddy.ParseDuration(text)
	if err != nil || after <= 0 {
		return d.Errf("restart_unhealthy: %q: want true, false, or how long a container must have been unhealthy, such as 30s", text)
	}
	*to = caddy.Duration(after)
	return nil
}
