package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/modules/downstream"
	"github.com/theworklabs/edge/modules/service"
)

func init() {
	httpcaddyfile.RegisterDirective("edge_proxy", parse)
	httpcaddyfile.RegisterDirectiveOrder("edge_proxy", httpcaddyfile.Before, "reverse_proxy")
}

// parse reads the directive. Syntax:
//
//	edge_proxy [<matcher>] <service:port> {
//		probe {
//			…                       # see modules/edge
//		}
//		hold         <duration>
//		max_held     <requests>
//		eject        <failures> [<base> [<max>]]|off      # 5 5s 5m
//		slow_start   <duration>|off                       # 10s
//		retry_budget <percent>|off                        # 20%
//		close_window <duration>                           # 5s
//		affinity     <socketio|cookie...>
//		reuse        repeatable|all                       # repeatable
//		timeouts {
//			dial     <duration>     # 3s
//			response <duration>     # until the response begins; no limit
//			idle     <duration>     # of a WebSocket without a byte in either direction; no limit
//		}
//		# and the subdirectives of reverse_proxy that have the same meaning here:
//		# header_up, header_down, handle_response, replace_status, rewrite, method, flush_interval,
//		# request_buffers, response_buffers, stream_*, verbose_logs, proxy_status_name
//	}
//
// The directive becomes the handler edge_proxy; with what only reverse_proxy can do, such as handle_response, reverse_proxy with the transport edge
// follows.
func parse(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matcher, d, position, err := ParseMatcher(h)
	if err != nil {
		return nil, err
	}
	t, err := extractSubdirectives(d, keptHeaderFilter(h))
	if err != nil {
		return nil, err
	}
	if err := service.Declare(h, t.Service, t.Config, position); err != nil {
		return nil, err // it names both positions itself
	}
	rp := new(reverseproxy.Handler)
	d.Reset()
	if err := rp.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	if err := rp.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	route := caddyhttp.Route{HandlersRaw: Handlers(t, rp)}
	if len(matcher) > 0 {
		route.MatcherSetsRaw = []caddy.ModuleMap{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// ParseMatcher reads a directive's matcher. It returns the matcher, the directive's tokens with the dispenser on the
// directive's name, and its position ("Caddyfile:12").
func ParseMatcher(h httpcaddyfile.Helper) (matcher caddy.ModuleMap, d *caddyfile.Dispenser, position string, err error) {
	if !h.Next() {
		return nil, nil, "", h.ArgErr()
	}
	if matcher, err = h.ExtractMatcherSet(); err != nil {
		return nil, nil, "", err
	}
	h.Next() // ExtractMatcherSet has reset the dispenser
	d = h.NewFromNextSegment()
	d.Next()
	return matcher, d, fmt.Sprintf("%s:%d", d.File(), d.Line()), nil
}

// Handlers returns the handlers of a route to a service. rp has the configuration of reverse_proxy, and may be empty: it becomes a handler of its
// own only if edge_proxy can't do what it asks for.
func Handlers(t *Transport, rp *reverseproxy.Handler) []json.RawMessage {
	transport := caddyconfig.JSONModuleObject(t, "protocol", "edge", nil)
	if canBeDirect(rp) {
		h := &Handler{TransportRaw: transport, Headers: rp.Headers, FlushInterval: rp.FlushInterval}
		return []json.RawMessage{caddyconfig.JSONModuleObject(h, "handler", "edge_proxy", nil)}
	}
	rp.TransportRaw, rp.Upstreams = transport, t.upstreams()
	return []json.RawMessage{
		caddyconfig.JSONModuleObject(new(Handler), "handler", "edge_proxy", nil),
		caddyconfig.JSONModuleObject(rp, "handler", "reverse_proxy", nil),
	}
}

// canBeDirect reports whether edge_proxy can do all that a reverse_proxy is configured to.
func canBeDirect(rp *reverseproxy.Handler) bool {
	plain := reverseproxy.Handler{Headers: rp.Headers, FlushInterval: min(rp.FlushInterval, 0)}
	return bytes.Equal(caddyconfig.JSON(rp, nil), caddyconfig.JSON(plain, nil))
}

// upstreams returns the upstream of a reverse_proxy with the transport.
func (t *Transport) upstreams() reverseproxy.UpstreamPool {
	return reverseproxy.UpstreamPool{{Dial: t.dialAddress()}}
}

// dialAddress returns the address for the placeholders of reverse_proxy, which names an upstream without a project.
func (t *Transport) dialAddress() string {
	names, err := registry.ParseNames(t.Service)
	if err != nil {
		return t.Service // Provision reports the error
	}
	return names[0].HostPort()
}

// extractSubdirectives reads the service and edge_proxy's own subdirectives, and deletes them from d, so that reverse_proxy's
// parser sees only its own. isKept reports whether the edge lets a spoofable header pass.
func extractSubdirectives(d *caddyfile.Dispenser, isKept func(header string) bool) (*Transport, error) {
	t := new(Transport)
	var names []string
	for d.NextArg() {
		names = append(names, d.Val())
		d.Delete()
	}
	if len(names) == 0 {
		return nil, d.Err("edge_proxy: want a service, such as edge_proxy bigcapital-server:3000")
	}
	var err error
	if t.Service, err = service.ParseNames(names); err != nil {
		return nil, d.WrapErr(err)
	}
	for d.NextBlock(0) {
		name := d.Val()
		if hint, isUnsupported := unsupportedSubdirective(name); isUnsupported {
			return nil, d.Errf("edge_proxy: %s can't be used here: %s", name, hint)
		}
		if !slices.Contains(inheritedSubdirectives, name) && !strings.HasPrefix(name, "@") && name != "timeouts" && name != "affinity" && name != "reuse" &&
			!slices.Contains(service.Options, name) {
			return nil, d.Errf("edge_proxy: unknown subdirective %q, want %s, affinity, reuse, timeouts, or from reverse_proxy: %s",
				name, strings.Join(service.Options, ", "), strings.Join(inheritedSubdirectives, ", "))
		}
		segment := d.NewFromNextSegment()
		if err := checkHeaderUp(segment, isKept); err != nil {
			return nil, err
		}
		if slices.Contains(inheritedSubdirectives, name) || strings.HasPrefix(name, "@") {
			continue
		}
		n := countTokens(segment)
		d.DeleteN(n)
		if err := t.unmarshalSubdirective(segment); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// headerPlaceholder matches the placeholder of a request header, and the Caddyfile's short forms of it.
var headerPlaceholder = regexp.MustCompile(`\{(?:http\.request\.header\.|header\.|>)([^}]+)\}`)

// checkHeaderUp returns an error if the value of a header_up is a header that the edge drops: the application would get an
// empty one.
func checkHeaderUp(d *caddyfile.Dispenser, isKept func(header string) bool) error {
	defer d.Reset()
	if d.Next(); d.Val() != "header_up" {
		return nil
	}
	for _, arg := range d.RemainingArgs() {
		for _, match := range headerPlaceholder.FindAllStringSubmatch(arg, -1) {
			if _, isSpoofable := downstream.Spoofable(match[1]); !isSpoofable || isKept(match[1]) || downstream.IsXForwarded(match[1]) {
				continue
			}
			return d.Errf("edge_proxy: %s is always empty here, because the edge drops headers that clients can spoof. "+
				"If a proxy in front of the edge sets %s, add the proxy to trusted_proxies in the global option servers, "+
				"and client_ip_headers %[2]s if the header has the client's address: applications then get that address "+
				"in X-Real-IP and X-Forwarded-For, and {client_ip} has it. "+
				"To accept the header from any client, add keep_headers %[2]s to the global option edge", match[0], match[1])
		}
	}
	return nil
}

// keptHeaderFilter returns a function that reports whether the global option edge lets a header pass.
func keptHeaderFilter(h httpcaddyfile.Helper) func(header string) bool {
	var app struct {
		KeepHeaders []string `json:"keep_headers"`
	}
	if option, ok := h.Option("edge").(httpcaddyfile.App); ok {
		_ = json.Unmarshal(option.Value, &app) // the value was encoded from the same field
	}
	return func(header string) bool {
		return slices.ContainsFunc(app.KeepHeaders, func(kept string) bool { return downstream.SameHeader(kept, header) })
	}
}

// countTokens returns the number of tokens of a segment, and resets the segment.
func countTokens(d *caddyfile.Dispenser) int {
	n := 0
	for d.Next() {
		n++
	}
	d.Reset()
	return n
}

func (t *Transport) unmarshalSubdirective(d *caddyfile.Dispenser) error {
	d.Next()
	switch d.Val() {
	case "timeouts":
		return t.unmarshalTimeouts(d)
	case "reuse":
		return t.unmarshalReuse(d)
	case "affinity":
		return UnmarshalAffinity(d, &t.Affinity)
	default:
		_, err := t.Config.UnmarshalLine(d)
		return err
	}
}

// UnmarshalAffinity reads the kinds of affinity in a line into to. The kind off is none.
func UnmarshalAffinity(d *caddyfile.Dispenser, to *[]string) error {
	kinds := d.RemainingArgs()
	if len(kinds) == 0 {
		return d.Err("affinity: want socketio, cookie, or both")
	}
	if len(kinds) == 1 && kinds[0] == "off" {
		kinds = nil
	}
	if err := affinity.CheckKinds(kinds); err != nil {
		return d.WrapErr(err)
	}
	*to = kinds
	return nil
}

func (t *Transport) unmarshalReuse(d *caddyfile.Dispenser) error {
	if !d.Args(&t.Reuse) || d.NextArg() {
		return d.ArgErr()
	}
	if err := checkReuse(t.Reuse); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (t *Transport) unmarshalTimeouts(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("timeouts: want a block, with response 2m on a line of its own")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		to := map[string]*caddy.Duration{"dial": &t.DialTimeout, "response": &t.ResponseTimeout, "idle": &t.IdleTimeout}[d.Val()]
		if to == nil {
			return d.Errf("timeouts: unknown option %q, want dial, response or idle", d.Val())
		}
		if !d.NextArg() {
			return d.ArgErr()
		}
		if err := service.ParseDuration(d, d.Val(), to); err != nil {
			return err
		}
	}
	return nil
}

// inheritedSubdirectives are the subdirectives of reverse_proxy that have the same meaning here.
var inheritedSubdirectives = []string{
	"header_up", "header_down", "handle_response", "replace_status", "rewrite", "method", "flush_interval",
	"request_buffers", "response_buffers", "stream_timeout", "stream_buffer_size",
	"stream_close_delay", "verbose_logs", "proxy_status_name",
}

// unsupportedSubdirective reports whether a subdirective of reverse_proxy is not allowed here, and says what to use instead.
func unsupportedSubdirective(name string) (hint string, isUnsupported bool) {
	switch {
	case name == "to" || name == "dynamic":
		return "the edge finds the service's containers itself; for fixed addresses, use `static` in the global option edge", true
	case name == "transport":
		return "edge_proxy sends HTTP/1.1 without TLS, and its limits are in `timeouts`; for HTTPS, h2c or FastCGI, use reverse_proxy with " +
			"`dynamic docker_dns <service:port>` and this transport", true
	case name == "trusted_proxies":
		return "Caddy must know trusted proxies before the route: use `trusted_proxies` in the global option `servers`", true
	case strings.HasPrefix(name, "lb_"):
		return "edge_proxy picks the less busy of two random ready containers, and retries requests that were not sent; for another policy, use reverse_proxy with `dynamic docker_dns`", true
	case strings.HasPrefix(name, "health_"):
		return "use `probe`", true
	case name == "fail_duration" || name == "max_fails" || strings.HasPrefix(name, "unhealthy_"):
		return "reverse_proxy sees the service as one upstream, so that a failure of one container would take down all; use `probe` and `eject`", true
	}
	return "", false
}
