// Package presets has the directives `bigcapital`, `corteza` and `container_registry`: the routes, limits and headers that these applications need.
//
// A directive needs no argument, and its block can override every value. `edge adapt` prints the resulting routes.
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
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/requestbody"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/theworklabs/edge/modules/matchers"
	"github.com/theworklabs/edge/modules/proxy"
	"github.com/theworklabs/edge/modules/securityheaders"
	"github.com/theworklabs/edge/modules/service"
)

// preset is the configuration for one application.
type preset struct {
	name            string
	blockedPaths    []string      // patterns of paths that clients must not reach
	maxBody         int64         // in bytes; 0: no limit
	responseTimeout time.Duration // 0: no limit
	headers         securityheaders.Headers
	limits          limits
	allowedOrigins  allowedOrigins
	accounts        *accounts // nil: the application has a log-in of its own
	backends        []backend // in the order of their routes; the last one gets all other paths
	defaultService  string    // the first backend's service, unless the Caddyfile overrides it
}

// backend is one service of an application, and its paths.
type backend struct {
	name     string // the subdirective that overrides the service
	service  string
	paths    []string // none: all other paths
	config   service.Config
	affinity []string // the kinds of affinity: socketio, cookie
	assets   []string // patterns of paths whose files have another name when their content changes
}

// routes returns the preset's routes.
func (p preset) routes() caddyhttp.RouteList {
	var routes caddyhttp.RouteList
	if !p.headers.IsEmpty() {
		routes = append(routes, caddyhttp.Route{HandlersRaw: p.headers.Handlers()})
	}
	routes = append(routes, notForCDNsRoute())
	if p.accounts == nil { // else its clients are programs
		routes = append(routes, askAgainRoute())
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
	routes = append(routes, p.allowedOrigins.routes()...)
	routes = append(routes, p.limits.routes(p.zoneName())...)
	if p.accounts != nil {
		routes = append(routes, p.accounts.routes(p.zoneName(), p.limits)...)
	}
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

// zoneName is the name of the preset's rate limit zone: its own name, and if its first service is not the default one, the service's
// name behind it. So two installations of an application have limits of their own.
func (p preset) zoneName() string {
	if p.backends[0].service == p.defaultService {
		return p.name
	}
	return p.name + "_" + strings.NewReplacer(":", "_", ".", "_", "/", "_", ",", "_").Replace(p.backends[0].service)
}

// bodyTooLargeRoute refuses requests that announce a body of more than maxBytes.
func bodyTooLargeRoute(maxBytes int64) caddyhttp.Route {
	return caddyhttp.Route{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{"larger_than": caddyconfig.JSON(matchers.LargerThan{Bytes: maxBytes}, nil)}},
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			caddyhttp.StaticError{StatusCode: caddyhttp.WeakString("413")}, "handler", "error", nil,
		)},
		Terminal: true,
	}
}

// bodyLimitHandler ends a request body after maxBytes, whatever the request announced.
func bodyLimitHandler(maxBytes int64) json.RawMessage {
	return caddyconfig.JSONModuleObject(requestbody.RequestBody{MaxSize: maxBytes}, "handler", "request_body", nil)
}

// cdnCacheControl is Cache-Control for CDNs alone (RFC 9213): browsers do as the application says.
const cdnCacheControl = "CDN-Cache-Control"

// notForCDNsRoute keeps CDNs from storing what the application answers. Without it, Cloudflare decides by the end of the path, so that /api/me/x.css would be a file to it, and a page that
// stands in for a missing file would be the file.
func notForCDNsRoute() caddyhttp.Route {
	return caddyhttp.Route{HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
		headers.Handler{Response: &headers.RespHeaderOps{
			// At once, so that immutableAssetsRoute can delete it.
			HeaderOps: &headers.HeaderOps{Set: http.Header{cdnCacheControl: []string{"no-store"}}},
		}}, "handler", "headers", nil,
	)}}
}

// askAgainRoute has browsers ask again for pages and answers of the API of which nobody says for how long they may be used: browsers guess then, and may show an old page, whose
// files are gone after a deploy. With an ETag, the answer is short.
func askAgainRoute() caddyhttp.Route {
	return caddyhttp.Route{HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
		headers.Handler{Response: &headers.RespHeaderOps{
			HeaderOps: &headers.HeaderOps{Set: http.Header{"Cache-Control": {"no-cache"}}},
			Require:   &caddyhttp.ResponseMatcher{Headers: http.Header{"Cache-Control": nil, "Expires": nil, "Content-Type": {"text/html*", "application/json*"}}},
			Deferred:  true, // so that the site's own directives count, too
		}}, "handler", "headers", nil,
	)}}
}

// immutableAssetsRoute lets browsers cache files forever whose names change with their content. It leaves out HTML pages: if a file
// is missing, the web app responds with its page and status 200, which browsers must not cache.
func immutableAssetsRoute(assets []string) caddyhttp.Route {
	return caddyhttp.Route{
		MatcherSetsRaw: pathMatcher(assets),
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			headers.Handler{Response: &headers.RespHeaderOps{
				HeaderOps: &headers.HeaderOps{
					Set:    http.Header{"Cache-Control": []string{"public, max-age=31536000, immutable"}},
					Delete: []string{cdnCacheControl},
				},
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
