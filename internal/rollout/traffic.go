package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/theworklabs/edge/internal/traffic"
)

// Traffic returns what the edge has counted on all routes to the services in its last minutes, the oldest interval first. The points have no percentiles.
func (r *Rollout) Traffic(ctx context.Context) ([]traffic.Point, error) {
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
	sums := make(map[int64]traffic.Point)
	for _, name := range r.Services {
		if s.Services[name] == nil {
			continue
		}
		for _, route := range s.routesTo(s.Services[name], routes) {
			for _, p := range histories[route.Service] {
				sum := sums[p.Start.Unix()]
				sum.Start, sum.Requests, sum.Errors = p.Start, sum.Requests+p.Requests, sum.Errors+p.Errors
				sums[p.Start.Unix()] = sum
			}
		}
	}
	var points []traffic.Point
	for _, p := range sums {
		points = append(points, p)
	}
	slices.SortFunc(points, func(a, b traffic.Point) int { return cmp.Compare(a.Start.Unix(), b.Start.Unix()) })
	return points, nil
}

// RunInEdge runs a command of the edge in its container.
func (r *Rollout) RunInEdge(ctx context.Context, args ...string) error {
	s, err := r.readStack(ctx)
	if err == nil {
		_, err = s.execEdge(ctx, args...)
	}
	return err
}
