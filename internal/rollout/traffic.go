package rollout

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/theworklabs/edge/internal/traffic"
)

// Traffic returns what the edge has counted in its last minutes on each route to the services, by the route's name, the oldest interval first.
func (r *Rollout) Traffic(ctx context.Context) (map[string][]traffic.Point, error) {
	s, err := r.readStack(ctx)
	if err != nil {
		return nil, err
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, err
	}
	out, err := s.execEdge(ctx, "status", "--history", "--json")
	if err != nil {
		return nil, err
	}
	var histories map[string][]traffic.Point
	if err := json.Unmarshal([]byte(out), &histories); err != nil {
		return nil, fmt.Errorf("read the output of `edge status --history`: %w", err)
	}
	all := make(map[string][]traffic.Point)
	for _, name := range r.Services {
		if s.Services[name] == nil {
			continue
		}
		for _, route := range s.routesTo(s.Services[name], routes) {
			all[route.Service] = histories[route.Service]
		}
	}
	return all, nil
}

// RunInEdge runs a command of the edge in its container.
func (r *Rollout) RunInEdge(ctx context.Context, args ...string) error {
	s, err := r.readStack(ctx)
	if err == nil {
		_, err = s.execEdge(ctx, args...)
	}
	return err
}
