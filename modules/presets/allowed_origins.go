package presets

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/matchers"
)

// allowedOrigins are the origins of other sites whose pages may open WebSockets.
type allowedOrigins struct {
	allowAny bool
	origins  []string
}

// routes returns the route that refuses WebSockets of all other origins; none if every origin is allowed.
func (a allowedOrigins) routes() caddyhttp.RouteList {
	if a.allowAny {
		return nil
	}
	return caddyhttp.RouteList{{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{"foreign_origin": caddyconfig.JSON(matchers.ForeignOrigin{Allow: a.origins}, nil)}},
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			caddyhttp.StaticError{StatusCode: caddyhttp.WeakString("403"), Error: "a page of another site may not open a WebSocket here"}, "handler", "error", nil,
		)},
		Terminal: true,
	}}
}

// unmarshalLine reads the line `origins <origins...>|any`.
func (a *allowedOrigins) unmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("origins: want the origins of other sites whose pages may open WebSockets, such as https://intranet.example.com, or any")
	}
	if len(args) == 1 && args[0] == "any" {
		*a = allowedOrigins{allowAny: true}
		return nil
	}
	for _, text := range args {
		if err := matchers.ValidateOrigin(text); err != nil {
			return d.WrapErr(err)
		}
	}
	a.origins = append(a.origins, args...)
	return nil
}
