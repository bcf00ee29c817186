package presets

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(ForeignOrigin{})
}

// ForeignOrigin matches requests for a WebSocket that a browser makes on behalf of another site's page. No browser keeps pages
// from that, as it does with other requests (CORS), and it sends the cookies of the site that is asked; RFC 6455, section
// 10.2. What is no browser sends no Origin, and is not matched.
type ForeignOrigin struct {
	// Origins of other sites whose pages may, such as `https://intranet.example.com`.
	Allow []string `json:"allow,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (ForeignOrigin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.foreign_origin", New: func() caddy.Module { return new(ForeignOrigin) }}
}

// Validate checks the origins.
func (m ForeignOrigin) Validate() error {
	for _, text := range m.Allow {
		if err := validateOrigin(text); err != nil {
			return err
		}
	}
	return nil
}

func validateOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.String() != u.Scheme+"://"+u.Host {
		return fmt.Errorf("origin %q: want a scheme and a host, such as https://intranet.example.com", text)
	}
	return nil
}

// MatchWithError reports whether another site's page wants a WebSocket.
func (m ForeignOrigin) MatchWithError(r *http.Request) (bool, error) {
	if r.Header.Get("Upgrade") == "" && r.Method != http.MethodConnect { // which is how HTTP/2 does it; RFC 8441
		return false, nil
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return false, nil
	}
	u, err := url.Parse(origins[0])
	if len(origins) > 1 || err != nil {
		return true, nil
	}
	if (u.Scheme == "https" || u.Scheme == "http") && strings.EqualFold(stripDefaultPort(u.Host, u.Scheme), stripDefaultPort(r.Host, u.Scheme)) {
		return false, nil
	}
	return !slices.ContainsFunc(m.Allow, func(allowed string) bool { return strings.EqualFold(allowed, origins[0]) }), nil
}

// stripDefaultPort takes away a port that goes without saying.
func stripDefaultPort(hostport, scheme string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err == nil && (scheme == "https" && port == "443" || scheme == "http" && port == "80") {
		return host
	}
	return hostport
}

// allowedOrigins says whose pages may open WebSockets, beside the site's own.
type allowedOrigins struct {
	allowAny bool
	allow    []string
}

// routes returns what refuses the others.
func (o allowedOrigins) routes() caddyhttp.RouteList {
	if o.allowAny {
		return nil
	}
	return caddyhttp.RouteList{{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{caddy.ModuleMap{"foreign_origin": caddyconfig.JSON(ForeignOrigin{Allow: o.allow}, nil)}},
		HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(
			caddyhttp.StaticError{StatusCode: caddyhttp.WeakString("403"), Error: "a page of another site may not open a WebSocket here"}, "handler", "error", nil,
		)},
		Terminal: true,
	}}
}

// unmarshal reads the line `origins <origins...>|any`.
func (o *allowedOrigins) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("origins: want those of other sites whose pages may open WebSockets, such as https://intranet.example.com, or any")
	}
	if len(args) == 1 && args[0] == "any" {
		*o = allowedOrigins{allowAny: true}
		return nil
	}
	for _, text := range args {
		if err := validateOrigin(text); err != nil {
			return d.WrapErr(err)
		}
	}
	o.allow = append(o.allow, args...)
	return nil
}

// Interface guards
var (
	_ caddy.Validator                   = (*ForeignOrigin)(nil)
	_ caddyhttp.RequestMatcherWithError = (*ForeignOrigin)(nil)
)
