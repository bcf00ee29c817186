// Package securityheaders is the directive `security_headers`: response headers that tell browsers what a page may not do.
package securityheaders

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

func init() {
	httpcaddyfile.RegisterDirective("security_headers", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("security_headers", httpcaddyfile.Before, "header")
}

// Headers are the values of the response headers. An empty value leaves its header out.
type Headers struct {
	HSTS          string // Strict-Transport-Security, RFC 6797
	Frame         string // X-Frame-Options, RFC 7034
	Referrer      string // Referrer-Policy, W3C
	CSPReportOnly string // Content-Security-Policy-Report-Only, W3C CSP level 3
}

// Default returns values that suit the applications of the presets, and static sites. It has no `no-referrer`: Corteza refuses its
// forms without a referrer of the same origin. It has no `DENY`: both applications show parts of themselves in frames.
func Default() Headers {
	return Headers{HSTS: "max-age=31536000", Frame: "SAMEORIGIN", Referrer: "strict-origin-when-cross-origin"}
}

// IsEmpty reports whether all headers are left out, as by the line `security_headers off`.
func (h Headers) IsEmpty() bool { return h == Headers{} }

// parseCaddyfile reads the directive. Syntax:
//
//	security_headers [<matcher>] {
//		hsts            <value>|off
//		frame           <value>|off
//		referrer        <value>|off
//		csp_report_only <policy>|off
//	}
func parseCaddyfile(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !helper.Next() {
		return nil, helper.ArgErr()
	}
	matcher, err := helper.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	helper.Next() // the directive's name again: ExtractMatcherSet has deleted the matcher and gone back
	h := Default()
	if err := h.UnmarshalLine(helper.Dispenser); err != nil {
		return nil, err
	}
	return helper.NewRoute(matcher, &caddyhttp.Subroute{Routes: caddyhttp.RouteList{{HandlersRaw: h.Handlers()}}}), nil
}

// UnmarshalLine reads the line and the block of `security_headers`; the dispenser is on that name. Values that the block does not
// set stay as they are.
func (h *Headers) UnmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "off":
		*h = Headers{}
		return nil
	case len(args) > 0:
		return d.Errf("security_headers: takes a block, or off, got %q", args[0])
	}
	fields := map[string]*string{"hsts": &h.HSTS, "frame": &h.Frame, "referrer": &h.Referrer, "csp_report_only": &h.CSPReportOnly}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		field, isKnown := fields[name]
		if !isKnown {
			return d.Errf("security_headers: unknown subdirective %q; there are hsts, frame, referrer and csp_report_only", name)
		}
		var value string
		if !d.AllArgs(&value) || value == "" {
			return d.Errf("security_headers: %s: want one value, in quotes if it has spaces, or off", name)
		}
		if value == "off" {
			value = ""
		}
		*field = value
	}
	return nil
}

// Handlers returns handlers that set the headers on every response, of an application or of the edge itself. They also set
// `X-Content-Type-Options`, and delete the headers that name programs and their versions, which help only attackers.
//
// If the application sets X-Frame-Options, Referrer-Policy or Content-Security-Policy-Report-Only itself, its value stays: it may
// be stricter.
func (h Headers) Handlers() []json.RawMessage {
	always := headers.HeaderOps{
		Set:    http.Header{"X-Content-Type-Options": {"nosniff"}},
		Delete: []string{"Server", "Via", "X-Powered-By"},
	}
	if h.HSTS != "" {
		always.Set.Set("Strict-Transport-Security", h.HSTS)
	}
	handlers := []json.RawMessage{headersHandler(&headers.RespHeaderOps{HeaderOps: &always, Deferred: true})}
	for _, header := range []struct{ name, value string }{
		{"X-Frame-Options", h.Frame},
		{"Referrer-Policy", h.Referrer},
		{"Content-Security-Policy-Report-Only", h.CSPReportOnly},
	} {
		if header.value == "" {
			continue
		}
		handlers = append(handlers, headersHandler(&headers.RespHeaderOps{
			HeaderOps: &headers.HeaderOps{Set: http.Header{header.name: {header.value}}},
			Require:   &caddyhttp.ResponseMatcher{Headers: http.Header{header.name: nil}},
			Deferred:  true,
		}))
	}
	return handlers
}

func headersHandler(ops *headers.RespHeaderOps) json.RawMessage {
	return caddyconfig.JSONModuleObject(headers.Handler{Response: ops}, "handler", "headers", nil)
}
