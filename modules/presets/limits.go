package presets

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	rate "github.com/theworklabs/edge/internal/ratelimit"
	"github.com/theworklabs/edge/modules/ratelimit"
	"github.com/theworklabs/edge/modules/service"
)

// limit is how many requests one client's address may make; none if events is 0.
type limit struct {
	events int
	window time.Duration
	burst  int
}

// limits are a preset's: for what guesses at passwords, and for all requests together.
type limits struct {
	login limit
	all   limit
	// POST to these is a log-in, a registration or a lost password.
	loginPaths []string
	allow      []string // clients that are not limited
}

// defaultLimits is what an office behind one address needs; see the README for the arithmetic.
func defaultLimits(loginPaths ...string) limits {
	return limits{
		login:      limit{events: 10, window: time.Minute, burst: 150},
		all:        limit{events: 6000, window: time.Minute, burst: 6000},
		loginPaths: loginPaths,
	}
}

// routes returns the limits as routes; name is the application's, for the zones.
func (l limits) routes(name string) caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	if l.all.events > 0 {
		routes = append(routes, caddyhttp.Route{HandlersRaw: l.handler(name, l.all)})
	}
	if l.login.events > 0 {
		routes = append(routes, caddyhttp.Route{
			MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{
				"method": caddyconfig.JSON([]string{"POST"}, nil), "path": caddyconfig.JSON(l.loginPaths, nil),
			}},
			HandlersRaw: l.handler(name+"_login", l.login),
		})
	}
	return routes
}

func (l limits) handler(zone string, what limit) []json.RawMessage {
	return []json.RawMessage{caddyconfig.JSONModuleObject(&ratelimit.Handler{Zones: []*ratelimit.Zone{{
		Name: zone, Events: what.events, Window: caddy.Duration(what.window), Burst: what.burst, Allow: l.allow,
	}}}, "handler", "rate_limit", nil)}
}

// unmarshal reads one of the lines `limit login|all …`, `limit allow …` and `limit off`.
func (l *limits) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "off":
		l.login, l.all = limit{}, limit{}
		return nil
	case len(args) >= 2 && args[0] == "allow":
		for _, text := range args[1:] {
			if _, err := caddyhttp.CIDRExpressionToPrefix(text); err != nil && text != "private_ranges" {
				return d.Errf("limit allow %q: want an address, a range such as 192.0.2.0/24, or private_ranges", text)
			}
		}
		l.allow = append(l.allow, args[1:]...)
		return nil
	case len(args) < 2 || (args[0] != "login" && args[0] != "all"):
		return d.Err("limit: want login|all <events> <window> [<burst>], login|all off, allow <ranges...>, or off")
	}
	which := &l.all
	if args[0] == "login" {
		which = &l.login
	}
	if len(args) == 2 && args[1] == "off" {
		*which = limit{}
		return nil
	}
	return which.unmarshal(d, args[1:])
}

func (l *limit) unmarshal(d *caddyfile.Dispenser, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return d.Errf("limit: want <events> <window> [<burst>], such as 10 1m 150, got %q", strings.Join(args, " "))
	}
	var window caddy.Duration
	if err := service.ParseDuration(d, args[1], &window); err != nil {
		return err
	}
	numbers := []string{args[0], args[0]}
	copy(numbers[1:], args[2:]) // without a burst, it is the number of events
	var values [2]int
	for i, text := range numbers {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return d.Errf("limit %q: want a number of requests, at least 1", text)
		}
		values[i] = n
	}
	*l = limit{events: values[0], window: time.Duration(window), burst: values[1]}
	if err := (rate.Rate{Events: l.events, Window: l.window, Burst: l.burst}).Validate(); err != nil {
		return d.Errf("limit: %v", err)
	}
	return nil
}
