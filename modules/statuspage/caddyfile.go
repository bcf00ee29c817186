package statuspage

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("edge_status", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("edge_status", httpcaddyfile.Before, "respond")
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	edge_status [<matcher>] {
//		addresses_for <ranges...|private_ranges|any>
//		actions
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "addresses_for":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.ArgErr()
			}
			for _, text := range args {
				if err := new(Handler).addRange(text); err != nil {
					return d.WrapErr(err)
				}
			}
			h.AddressesFor = append(h.AddressesFor, args...)
		case "actions":
			if d.NextArg() {
				return d.ArgErr()
			}
			h.Actions = true
		default:
			return d.Errf("edge_status: unknown option %q; there are addresses_for and actions", d.Val())
		}
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
