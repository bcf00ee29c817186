package errorpages

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("error_pages", parseCaddyfile)
	// after what headers and log fields are set with, and in the place of respond
	httpcaddyfile.RegisterDirectiveOrder("error_pages", httpcaddyfile.Before, "respond")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	error_pages [<matcher>]
func (*Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.Errf("error_pages takes no argument, got %q; the status is the error's", d.Val())
	}
	if d.NextBlock(0) {
		return d.Errf("error_pages has no options, got %q", d.Val())
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
