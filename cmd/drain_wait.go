package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// waitIdle asks for the services until nothing is under way on the endpoints. Its error names what is left when that takes
// longer than the bound, or ctx ends.
func waitIdle(ctx context.Context, drained []registry.DrainStatus, bound time.Duration, ask func() ([]byte, error)) error {
	watched := make(map[string]bool, len(drained))
	for _, e := range drained {
		watched[e.Service+" "+e.ID] = true
	}
	over := time.After(bound)
	for {
		body, err := ask()
		if err != nil {
			return err
		}
		var services []registry.ServiceStatus
		if err := json.Unmarshal(body, &services); err != nil {
			return fmt.Errorf("read the services: %w", err)
		}
		var left []string
		for _, s := range services {
			for _, e := range s.Endpoints {
				if watched[s.Service+" "+e.ID] && e.InFlight+e.Sockets > 0 {
					left = append(left, fmt.Sprintf("%s on %s (in flight: %d, sockets: %d)", s.Service, e.ID, e.InFlight, e.Sockets))
				}
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-over:
			return withHint(fmt.Errorf("still under way after %s: %s", bound, strings.Join(left, "; ")), "it goes on; give --wait more time")
		case <-ctx.Done():
			return fmt.Errorf("interrupted; still under way: %s", strings.Join(left, "; "))
		}
	}
}
