package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// route is a service as the edge knows it, by name and port. It is part of what `edge status --json` prints.
type route struct {
	Service   string     `json:"service"`
	Endpoints []endpoint `json:"endpoints"`
}

// endpoint is one container as the edge knows it.
type endpoint struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	InFlight int    `json:"in_flight"`
	Sockets  int    `json:"sockets"`
	Sessions *int   `json:"sessions"` // nil: an edge that does not say
}

// The states of an endpoint that a rollout waits for.
const (
	stateReady    = "ready"
	stateDraining = "draining"
)

// routes asks the edge what it routes to.
func (s *stack) routes(ctx context.Context) ([]route, error) {
	out, err := s.execEdge(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	var all []route
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read what the edge's status printed: %w", err)
	}
	return all, nil
}

// routesTo returns those of routes that go to a service of the project.
func (s *stack) routesTo(to service, routes []route) []route {
	ours := func(r route) bool {
		host, _, _ := strings.Cut(r.Service, ":")
		return host == to.name || to.ContainerName != "" && host == to.ContainerName ||
			slices.ContainsFunc(r.Endpoints, func(e endpoint) bool {
				return strings.HasPrefix(e.Name, s.projectName+"/"+to.name+"/")
			})
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return !ours(r) })
}

// endpointsOf asks the edge for the endpoints that are among containers.
func (s *stack) endpointsOf(ctx context.Context, all []container) ([]endpoint, error) {
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, err
	}
	var found []endpoint
	for _, r := range routes {
		for _, e := range r.Endpoints {
			if slices.ContainsFunc(all, func(c container) bool { return c.matches(e) }) {
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// drain has the edge drain those of the containers that it knows, at once.
func (s *stack) drain(ctx context.Context, all []container, sessions time.Duration) error {
	return s.sendDrainCommand(ctx, all, "--sessions", sessions.String())
}

// undrain has the edge give them requests again.
func (s *stack) undrain(ctx context.Context, all []container) error {
	return s.sendDrainCommand(ctx, all, "--undo")
}

// sendDrainCommand gives the edge an order for those of the containers that it knows. It refuses the whole of it if one of them has
// gone since it was asked, so it is asked again then.
func (s *stack) sendDrainCommand(ctx context.Context, all []container, flags ...string) error {
	var failed error
	var before []string
	for {
		found, err := s.endpointsOf(ctx, all)
		if err != nil {
			return err
		}
		var known []string
		for _, e := range found {
			known = append(known, e.ID)
		}
		slices.Sort(known)
		known = slices.Compact(known)
		switch {
		case len(known) == 0:
			return nil
		case failed != nil && slices.Equal(known, before):
			return failed
		}
		if _, failed = s.execEdge(ctx, slices.Concat([]string{"drain"}, flags, known)...); failed == nil {
			return nil
		}
		before = known
	}
}

func (s *stack) execEdge(ctx context.Context, args ...string) (string, error) {
	out, err := s.runCompose(ctx, slices.Concat([]string{"exec", "-T", s.edge, "edge"}, args)...)
	if err != nil {
		return "", fmt.Errorf("ask the edge: %w", err)
	}
	return out, nil
}
