// Package presets are the directives `bigcapital` and `corteza`: what these applications need of a proxy, as routes.
//
// A directive needs no argument, and every value of it can be overridden. `edge adapt` shows what it becomes.
package presets

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/theworklabs/edge/modules/proxy"
	"github.com/theworklabs/edge/modules/service"
)

// preset is what is known of one application.
type preset struct {
	name            string
	blockedPaths    []string // paths that are nobody's business outside
	maxBody         int64    // bytes
	responseTimeout time.Duration
	headers         securityHeaders
	limits          limits
	origins         allowedOrigins
	backends        []backend // in the order of their routes; the last one takes the rest
	defaultService  string    // the first of their services, unless it is overridden
}

// backend is one service of an application, and the paths that go to it.
type backend struct {
	name    string // the subdirective that overrides the service
	service string
	paths   []string // none: all that is left
	config  service.Config
	// what keeps a client on one container
	affinity []string
	assets   []string // paths of files whose names change with their content
}

// routes returns what the preset becomes.
func (p preset) routes() caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	if !p.headers.isEmpty() {
		routes = append(routes, caddyhttp.Route{HandlersRaw: p.headers.handlers()})
	}
	if len(p.blockedPaths) > 0 {
		routes = append(routes, caddyhttp.Route{
			MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{"any_spelling": caddyconfig.JSON(p.blockedPaths, nil)}},
			HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
				caddyhttp.StaticError{StatusCode: caddyhttp.WeakString("404")}, "handler", "error", nil,
			)},
			Terminal: true,
		})
	}
	routes = append(routes, p.origins.routes()...)
	routes = append(routes, p.limits.routes(p.zoneName())...)
	if p.maxBody > 0 {
		routes = append(routes, bodyTooLargeRoute(p.maxBody))
	}
	for _, b := range p.backends {
		if len(b.assets) > 0 {
			routes = append(routes, immutableAssetsRoute(b.assets))
		}
		var handlers []json.RawMessage
		if p.maxBody > 0 {
			handlers = append(handlers, bodyLimitHandler(p.maxBody))
		}
		t := &proxy.Transport{
			Service: b.service, Config: b.config, Affinity: b.affinity, ResponseTimeout: caddy.Duration(p.responseTimeout),
		}
		route := caddyhttp.Route{HandlersRaw: append(handlers, proxy.Handlers(t, new(reverseproxy.Handler))...)}
		if len(b.paths) > 0 {
			route.MatcherSetsRaw = pathMatcher(b.paths)
			route.Terminal = true
		}
		routes = append(routes, route)
	}
	return routes
}

// zoneName is what the preset's limits are called: its own name, or where its first service is another one than usual, with that
// service's. So two installations of an application are counted apart.
func (p preset) zoneName() string {
	if p.backends[0].service == p.defaultService {
		return p.name
	}
	return p.name + "_" + strings.NewReplacer(":", "_", ".", "_").Replace(p.backends[0].service)
}

// immutableAssetsRoute marks files whose names change with their content as never changing, unless the answer is a page: a missing
// file is answered with the web app's page and status 200, which must not be kept.
func immutableAssetsRoute(assets []string) caddyhttp.Route {
	return caddyhttp.Route{
		MatcherSetsRaw: pathMatcher(assets),
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			headers.Handler{Response: &headers.RespHeaderOps{
				HeaderOps: &headers.HeaderOps{Set: http.Header{
					"Cache-Control": []string{"public, max-age=31536000, immutable"},
				}},
				Require: &caddyhttp.ResponseMatcher{
					StatusCode: []int{2},
					Headers:    http.Header{"Content-Type": []string{"text/css*", "*javascript*", "font/*", "image/*"}},
				},
				Deferred: true,
			}}, "handler", "headers", nil,
		)},
	}
}

func pathMatcher(patterns []string) caddyhttp.RawMatcherSets {
	return caddyhttp.RawMatcherSets{caddy.ModuleMap{"path": caddyconfig.JSON(patterns, nil)}}
}
