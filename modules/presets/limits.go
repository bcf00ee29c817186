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

// limit is how many requests one client may send. If events is 0, there is no limit.
type limit struct {
	events int
	window time.Duration
	burst  int
}

// limits are a preset's rate limits: for requests that can guess passwords, and for all requests.
type limits struct {
	login      limit
	all        limit
	loginPaths []string // a POST to them signs in, signs up or asks for a new password; none if the handler of the accounts limits log-ins
	allow      []string // addresses and ranges of clients without limits
}

// defaultLimits returns limits for an office of 100 people behind one address; the README has the arithmetic.
func defaultLimits(loginPaths ...string) limits {
	return limits{
		login:      limit{events: 10, window: time.Minute, burst: 150},
		all:        limit{events: 6000, window: time.Minute, burst: 6000},
		loginPaths: loginPaths,
	}
}

// routes returns the limits as routes, with zones of that name.
func (l limits) routes(zoneName string) caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	if l.all.events > 0 {
		routes = append(routes, caddyhttp.Route{HandlersRaw: l.handler(zoneName, l.all)})
	}
	if l.login.events > 0 && len(l.loginPaths) > 0 {
		routes = append(routes, caddyhttp.Route{
			MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{
				"method": caddyconfig.JSON([]string{"POST"}, nil), "path": caddyconfig.JSON(l.loginPaths, nil),
			}},
			HandlersRaw: l.handler(zoneName+"_login", l.login),
		})
	}
	return routes
}

func (l limits) handler(zoneName string, of limit) []json.RawMessage {
	return []json.RawMessage{caddyconfig.JSONModuleObject(&ratelimit.Handler{Zones: []*ratelimit.Zone{l.zone(zoneName, of)}}, "handler", "rate_limit", nil)}
}

func (l limits) zone(name string, of limit) *ratelimit.Zone {
	return &ratelimit.Zone{Name: name, Events: of.events, Window: caddy.Duration(of.window), Burst: of.burst, Allow: l.allow}
}

// unmarshalLine reads one of the lines `limit login|all …`, `limit allow …` and `limit off`.
func (l *limits) unmarshalLine(d *caddyfile.Dispenser) error {
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
	target := &l.all
	if args[0] == "login" {
		target = &l.login
	}
	if len(args) == 2 && args[1] == "off" {
		*target = limit{}
		return nil
	}
	return target.unmarshalArgs(d, args[1:])
}

// unmarshalArgs reads `<events> <window> [<burst>]`.
func (l *limit) unmarshalArgs(d *caddyfile.Dispenser, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return d.Errf("limit: want <events> <window> [<burst>], such as 10 1m 150, got %q", strings.Join(args, " "))
	}
	var window caddy.Duration
	if err := service.ParseDuration(d, args[1], &window); err != nil {
		return err
	}
	numbers := []string{args[0], args[0]}
	copy(numbers[1:], args[2:]) // the default burst is the number of events
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
