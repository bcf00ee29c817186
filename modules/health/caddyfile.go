package health

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("health", parseDirective)
	// Before redir, so that a check over plain HTTP is answered and not redirected.
	httpcaddyfile.RegisterDirectiveOrder("health", httpcaddyfile.Before, "redir")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	health [<matcher>] {
//		details_for <ranges...|private_ranges|none>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "details_for" {
			return d.Errf("health: unknown option %q; there is details_for", d.Val())
		}
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		if _, err := parseRanges(args); err != nil {
			return d.WrapErr(err)
		}
		h.DetailsFor = append(h.DetailsFor, args...)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
