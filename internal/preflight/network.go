package preflight

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// checkNetworks checks that the external networks of the active services exist.
func (c *Check) checkNetworks(ctx context.Context, s *stack) []Finding {
	users := make(map[string]string) // the first service on each network
	for _, service := range s.activeServices() {
		for key := range service.Networks {
			if _, known := users[key]; !known && s.Networks[key].IsExternal() {
				users[key] = service.Name
			}
		}
	}
	if !s.hasEngine || len(users) == 0 {
		return nil
	}
	out, _, err := c.Docker.Run(ctx, "network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}")
	if err != nil {
		return []Finding{warningFinding("network", "docker network ls", "networks can't be listed: %v", err)}
	}
	existing := strings.Fields(out)
	var all []Finding
	for _, key := range slices.Sorted(maps.Keys(users)) {
		if name := s.Networks[key].Name; !slices.Contains(existing, name) {
			all = append(all, errorFinding("network", "docker network create "+name+", or start the stack that creates it first", "the external network %s of %s does not exist", name, users[key]))
		}
	}
	if len(all) == 0 {
		all = append(all, okFinding("network", "all external networks exist (networks: %d)", len(users)))
	}
	return all
}
