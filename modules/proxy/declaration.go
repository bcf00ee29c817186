package proxy

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/theworklabs/edge/modules/edge"
)

// declaration is where a Caddyfile spoke of a service first, and all that it said of it since.
type declaration struct {
	position string
	config   edge.ServiceConfig
}

// Declare notes that a directive at a place ("Caddyfile:12") routes to a service, and returns an error that names both
// places if it contradicts another one.
func Declare(h httpcaddyfile.Helper, service string, config edge.ServiceConfig, at string) error {
	const key = "edge.services"
	all, ok := h.State[key].(map[string]declaration)
	if !ok {
		all = make(map[string]declaration)
		h.State[key] = all
	}
	first, ok := all[service]
	if !ok {
		all[service] = declaration{at, config}
		return nil
	}
	merged, err := first.config.Merge(config)
	if err != nil {
		return fmt.Errorf("service %s at %s and at %s: %w", service, first.position, at, err)
	}
	all[service] = declaration{first.position, merged}
	return nil
}
