// Package containerregistry decides who may pull from, push to and delete from a container registry behind the edge.
package containerregistry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/theworklabs/edge/modules/ratelimit"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler lets accounts use the API of a container registry (OCI Distribution Specification 1.1), whose paths begin with `/v2/`. Clients log in
// with HTTP Basic (RFC 7617), as `docker login` does. The registry gets the requests without the password, and should have no log-in itself.
//
// A request without an account's password gets 401, one that the account may not make 403, both with the specification's JSON for errors, and one
// for another path 404.
type Handler struct {
	// Who may use the registry. There is no anonymous access.
	Accounts []*Account `json:"accounts"`

	// How many passwords a client may try. One that was right before is not counted, and costs next to nothing.
	LoginLimit *ratelimit.Zone `json:"login_limit,omitempty"`

	loginLimit *ratelimit.Handler
	verified   verifiedPasswords
	slowest    *Account // of which a password takes longest to check
}

// checking is taken while a password is checked: one at a time in the whole process, so that those who try passwords from many addresses leave processors to others.
var checking = make(chan struct{}, 1)

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.container_registry_access", New: func() caddy.Module { return new(Handler) }}
}

// Provision checks the accounts.
func (h *Handler) Provision(ctx caddy.Context) error {
	if len(h.Accounts) == 0 {
		return errors.New("container_registry: want at least one account")
	}
	names := make(map[string]bool)
	for i, a := range h.Accounts {
		if a == nil {
			return fmt.Errorf("container_registry: account %d is null", i+1)
		}
		if err := a.Validate(); err != nil {
			return fmt.Errorf("container_registry: %w", err)
		}
		if names[a.Name] {
			return fmt.Errorf("container_registry: account %s is configured twice", a.Name)
		}
		names[a.Name] = true
		if h.slowest == nil || a.cost() > h.slowest.cost() {
			h.slowest = a
		}
	}
	h.verified = newVerifiedPasswords()
	if h.LoginLimit == nil {
		return nil
	}
	h.loginLimit = &ratelimit.Handler{Zones: []*ratelimit.Zone{h.LoginLimit}}
	return h.loginLimit.Provision(ctx)
}

// Cleanup releases the counts of the log-in limit.
func (h *Handler) Cleanup() error {
	if h.loginLimit == nil {
		return nil
	}
	return h.loginLimit.Cleanup()
}

// ServeHTTP passes on what the request's account may do.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path != "/v2" && !strings.HasPrefix(r.URL.Path, "/v2/") {
		return caddyhttp.Error(http.StatusNotFound, errors.New("a registry has no other paths than /v2/"))
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return refuseUnauthorized(w)
	}
	if account := h.verified.find(name, password); account != nil {
		return serve(w, r, account, next)
	}
	verify := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		select {
		case checking <- struct{}{}:
		case <-r.Context().Done():
			return r.Context().Err()
		}
		account := h.verifyPassword(name, password)
		<-checking
		if account == nil {
			return refuseUnauthorized(w)
		}
		h.verified.add(name, password, account)
		return serve(w, r, account, next)
	})
	if h.loginLimit == nil {
		return verify(w, r)
	}
	return h.loginLimit.ServeHTTP(w, r, verify)
}

// serve passes on a request of an account, if the account may make it.
func serve(w http.ResponseWriter, r *http.Request, account *Account, next caddyhttp.Handler) error {
	// For the access log.
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", account.Name)
	if need := accessFor(r); !account.Access.includes(need) {
		return writeError(w, http.StatusForbidden, "DENIED", fmt.Sprintf("the account %s has the access %q; this needs %q", account.Name, account.Access, need))
	}
	r.Header.Del("Authorization")
	return next.ServeHTTP(w, r)
}

// verifyPassword returns the account, or nil if the name or the password is wrong. For a name that does not exist it takes as long as for the slowest one.
func (h *Handler) verifyPassword(name, password string) *Account {
	for _, a := range h.Accounts {
		if a.Name == name {
			if a.hasPassword(password) {
				return a
			}
			return nil
		}
	}
	_ = h.slowest.hasPassword(password)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
