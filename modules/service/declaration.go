package service

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// declaration is what the routes of a Caddyfile configure for one service, merged, and the position of the first of them.
type declaration struct {
	position string
	config   Config
}

// Declare records that a directive at a position ("Caddyfile:12") routes to a service with a configuration. It returns an error
// with both positions if an earlier directive of the same Caddyfile contradicts it.
func Declare(h httpcaddyfile.Helper, name string, config Config, position string) error {
	const stateKey = "edge.services"
	declarations, ok := h.State[stateKey].(map[string]declaration)
	if !ok {
		declarations = make(map[string]declaration)
		h.State[stateKey] = declarations
	}
	first, ok := declarations[name]
	if !ok {
		declarations[name] = declaration{position, config}
		return nil
	}
	merged, err := first.config.Merge(config)
	if err != nil {
		return fmt.Errorf("service %s at %s and at %s: %w", name, first.position, position, err)
	}
	declarations[name] = declaration{first.position, merged}
	return nil
}
