package presets

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/containerregistry"
	"github.com/theworklabs/edge/modules/service"
)

// containerRegistry is CNCF Distribution, the registry of container images. A layer has no limit of its size, and neither has the time that storing it takes.
func containerRegistry() preset {
	return preset{
		name:           "container_registry",
		limits:         defaultLimits(),
		allowedOrigins: allowedOrigins{allowAny: true}, // it has no WebSockets
		accounts:       new(accounts),
		backends: []backend{{
			name: "server", service: "registry:5000",
			config: service.Config{Probe: &service.Probe{URIs: []string{"/v2/"}}},
		}},
	}
}

// accounts may use a preset's application, which has no log-in of its own.
type accounts []*containerregistry.Account

// routes returns the route that lets only accounts through. The limit of log-ins is that of the passwords that a client may try.
func (a accounts) routes(zoneName string, l limits) caddyhttp.RouteList {
	handler := &containerregistry.Handler{Accounts: a}
	if l.login.events > 0 {
		handler.LoginLimit = l.zone(zoneName+"_login", l.login)
	}
	return caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(handler, "handler", "container_registry_access", nil)}}}
}

// unmarshalLine reads the line `account pull|push|admin <name> <password hash>`.
func (a *accounts) unmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 {
		return d.Errf("account: want pull|push|admin, a name, and the hash of a password from `edge hash-password`, got %q", strings.Join(args, " "))
	}
	access, err := containerregistry.ParseAccess(args[0])
	if err != nil {
		return d.Errf("account: %v", err)
	}
	account := &containerregistry.Account{Access: access, Name: args[1], PasswordHash: args[2]}
	if err := account.Validate(); err != nil {
		return d.WrapErr(err)
	}
	for _, other := range *a {
		if other.Name == account.Name {
			return d.Errf("account %s is configured twice", account.Name)
		}
	}
	*a = append(*a, account)
	return nil
}
