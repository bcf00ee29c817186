package presets

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
	httpcaddyfile.RegisterDirective("security_headers", parseSecurityHeaders)
	httpcaddyfile.RegisterDirectiveOrder("security_headers", httpcaddyfile.Before, "header")
}

// securityHeaders are what an answer tells the browser not to do. An empty value leaves its header out.
type securityHeaders struct {
	hsts          string // Strict-Transport-Security, RFC 6797
	frame         string // X-Frame-Options, RFC 7034
	referrer      string // Referrer-Policy, W3C
	cspReportOnly string // Content-Security-Policy-Report-Only, W3C CSP level 3
}

// defaultSecurityHeaders is what both applications and a static site live with. Not `no-referrer`: Corteza's forms are refused without
// a referrer of the same origin. Not `DENY`: both show parts of themselves in frames.
func defaultSecurityHeaders() securityHeaders {
	return securityHeaders{hsts: "max-age=31536000", frame: "SAMEORIGIN", referrer: "strict-origin-when-cross-origin"}
}

// isEmpty reports whether nothing is left to send.
func (s securityHeaders) isEmpty() bool { return s == securityHeaders{} }

// parseSecurityHeaders reads the directive. Syntax:
//
//	security_headers [<matcher>] {
//		hsts            <value>|off
//		frame           <value>|off
//		referrer        <value>|off
//		csp_report_only <policy>|off
//	}
func parseSecurityHeaders(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // the directive's name again: the matcher is gone
	s := defaultSecurityHeaders()
	if err := s.unmarshal(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, &caddyhttp.Subroute{Routes: caddyhttp.RouteList{{HandlersRaw: s.handlers()}}}), nil
}

// unmarshal reads the line and the block of the directive, at its name.
func (s *securityHeaders) unmarshal(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "off":
		*s = securityHeaders{}
		return nil
	case len(args) > 0:
		return d.Errf("security_headers: takes a block, or off, got %q", args[0])
	}
	fields := map[string]*string{
		"hsts": &s.hsts, "frame": &s.frame, "referrer": &s.referrer, "csp_report_only": &s.cspReportOnly,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		field, known := fields[name]
		if !known {
			return d.Errf("security_headers: unknown subdirective %q; there are hsts, frame, referrer and csp_report_only", name)
		}
		var value string
		if !d.AllArgs(&value) || value == "" {
			return d.Errf("security_headers: %s wants one value, in quotes if it has spaces, or off", name)
		}
		if value == "off" {
			value = ""
		}
		*field = value
	}
	return nil
}

// handlers returns what sends them: to every answer, of an application or of the edge itself. What an application says
// of frames, referrers and content stands, since it may be stricter. Names and versions of programs help attackers only.
func (s securityHeaders) handlers() []json.RawMessage {
	always := headers.HeaderOps{
		Set:    http.Header{"X-Content-Type-Options": {"nosniff"}},
		Delete: []string{"Server", "Via", "X-Powered-By"},
	}
	if s.hsts != "" {
		always.Set.Set("Strict-Transport-Security", s.hsts)
	}
	all := []json.RawMessage{headersHandler(&headers.RespHeaderOps{HeaderOps: &always, Deferred: true})}
	for _, header := range []struct{ name, value string }{
		{"X-Frame-Options", s.frame},
		{"Referrer-Policy", s.referrer},
		{"Content-Security-Policy-Report-Only", s.cspReportOnly},
	} {
		if header.value == "" {
			continue
		}
		all = append(all, headersHandler(&headers.RespHeaderOps{
			HeaderOps: &headers.HeaderOps{Set: http.Header{header.name: {header.value}}},
			Require:   &caddyhttp.ResponseMatcher{Headers: http.Header{header.name: nil}},
			Deferred:  true,
		}))
	}
	return all
}

func headersHandler(ops *headers.RespHeaderOps) json.RawMessage {
	return caddyconfig.JSONModuleObject(headers.Handler{Response: ops}, "handler", "headers", nil)
}
