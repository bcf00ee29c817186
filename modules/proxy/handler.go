package proxy

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/edge"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler stands in front of reverse_proxy in an `edge_proxy` route. It takes from the request every header in which
// a client could claim to be someone else, and adds `Retry-After` when the service can't take requests. (The transport
// sets `X-Real-IP` to the client's address.)
//
// Clients that are trusted proxies (the server's `trusted_proxies`) keep the `X-Forwarded-*` headers that
// reverse_proxy builds on.
type Handler struct {
	app *edge.App
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_proxy", New: func() caddy.Module { return new(Handler) }}
}

// Provision gets the edge app, which watches where clients seem to come from.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("edge")
	if err != nil {
		return err
	}
	h.app = app.(*edge.App)
	return nil
}

// retryAfter is how many seconds a client is asked to wait when a service has nothing to take requests with: about the time that a
// container takes to boot.
const retryAfter = "5"

// ServeHTTP cleans the request's headers, passes it on, and completes the answer to a refusal.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	stripClaims(r.Header, trusted)
	h.app.Met(r.RemoteAddr)
	err := next.ServeHTTP(w, offer(w, r))
	if errors.Is(err, errTakenOver) {
		return nil
	}
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryTime(err))
	}
	return err
}

// claims are the headers that applications and proxies read a client's address, scheme or host from. Keys have no
// separators and are lower case, so that X_Real_IP and x.real.ip are caught too.
var claims = map[string]bool{
	"trueclientip": true, "xrealip": true, "xclientip": true, "xclusterclientip": true, "cfconnectingip": true,
	"cfconnectingipv6": true, "fastlyclientip": true, "xappengineuserip": true, "xoriginalforwardedfor": true,
	"forwarded": true, "forwardedfor": true, "xforwarded": true, "xremoteip": true, "xremoteaddr": true,
	"xoriginalhost": true, "xoriginalurl": true, "xrewriteurl": true, "xhttpmethodoverride": true, "fronthttps": true,
	"xprotoversion": true, "xurlscheme": true,
}

// stripClaims deletes the client's own claims. The three X-Forwarded headers that reverse_proxy itself replaces, or
// extends for a trusted proxy, are left to it in their proper spelling.
func stripClaims(h http.Header, trusted bool) {
	for name := range h {
		key := squeeze(name)
		forwarded := strings.HasPrefix(key, "xforwarded")
		if !forwarded && !claims[key] {
			continue
		}
		if trusted && (name == "X-Forwarded-For" || name == "X-Forwarded-Proto" || name == "X-Forwarded-Host") {
			continue
		}
		delete(h, name)
	}
}

// squeeze returns a header's name in lower case without its separators. Names without any letter that could begin a
// claim are returned as they are, which is cheaper.
func squeeze(name string) string {
	switch name[0] {
	case 'X', 'x', 'F', 'f', 'T', 't', 'C', 'c':
	default:
		return name
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == '_' || r == '.':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
