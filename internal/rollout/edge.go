package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// route is a service that the edge routes to, NAME:PORT, with its endpoints. It is part of the output of `edge status --json`.
type route struct {
	Service   string     `json:"service"`
	Endpoints []endpoint `json:"endpoints"`
}

// endpoint is one container as the edge reports it.
type endpoint struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	InFlight int    `json:"in_flight"`
	Sockets  int    `json:"sockets"`
	Sessions *int   `json:"sessions"` // nil if the edge does not report sessions
}

// The states of an endpoint that a rollout waits for.
const (
	stateReady    = "ready"
	stateDraining = "draining"
)

// routes asks the edge for its routes.
func (s *stack) routes(ctx context.Context) ([]route, error) {
	out, err := s.execEdge(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	var all []route
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read the output of `edge status`: %w", err)
	}
	return all, nil
}

// routesTo returns the routes to a service of the project.
func (s *stack) routesTo(to *compose.Service, routes []route) []route {
	isTo := func(r route) bool {
		if len(r.Endpoints) > 0 && !slices.ContainsFunc(r.Endpoints, s.canBeOwn) {
			return false // another project's service has the name
		}
		for name := range strings.SplitSeq(r.Service, ",") {
			host, _, _ := strings.Cut(strings.TrimPrefix(name, s.Name+"/"), ":")
			if host == to.Name || to.ContainerName != "" && host == to.ContainerName {
				return true
			}
		}
		return slices.ContainsFunc(r.Endpoints, func(e endpoint) bool {
			return strings.HasPrefix(e.Name, s.Name+"/"+to.Name+"/")
		})
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return !isTo(r) })
}

// canBeOwn reports whether an endpoint may be a container of the project. DNS tells no names.
func (s *stack) canBeOwn(e endpoint) bool {
	return e.Name == "" || strings.HasPrefix(e.Name, s.Name+"/")
}

// endpointsOf asks the edge for the endpoints of containers.
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

// drain has the edge drain those of the containers that it knows, in one request. It returns at which time other edges, which share the storage, have done so,
// too; the zero time if there can be none. notShared is why these were not notified.
func (s *stack) drain(ctx context.Context, all []container, sessions time.Duration) (sharedAt time.Time, notShared string, err error) {
	out, err := s.sendDrainCommand(ctx, all, "--sessions", sessions.String(), "--json")
	if err != nil || out == "" {
		return time.Time{}, "", err
	}
	var answer struct {
		SharedWithin string `json:"shared_within"`
		NotShared    string `json:"not_shared"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return time.Time{}, "", fmt.Errorf("read the answer of edge drain: %w", err)
	}
	if answer.SharedWithin == "" {
		return time.Time{}, answer.NotShared, nil
	}
	within, err := time.ParseDuration(answer.SharedWithin)
	if err != nil {
		return time.Time{}, "", fmt.Errorf("read the answer of edge drain: %w", err)
	}
	return time.Now().Add(within), answer.NotShared, nil
}

// undrain has the edge send requests to the containers again. notShared is why other edges were not notified.
func (s *stack) undrain(ctx context.Context, all []container) (notShared string, err error) {
	out, err := s.sendDrainCommand(ctx, all, "--undo", "--json")
	if err != nil || out == "" {
		return "", err
	}
	var answer struct {
		NotShared string `json:"not_shared"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return "", fmt.Errorf("read the answer of edge drain: %w", err)
	}
	return answer.NotShared, nil
}

// sendDrainCommand runs `edge drain` for those of the containers that the edge knows. The edge refuses all of them if it has lost
// one since it listed them; sendDrainCommand then tries again. It returns the command's output; none if the edge knows no container.
func (s *stack) sendDrainCommand(ctx context.Context, all []container, flags ...string) (out string, err error) {
	var commandErr error
	var before []string
	for {
		found, err := s.endpointsOf(ctx, all)
		if err != nil {
			return "", err
		}
		var known []string
		for _, e := range found {
			known = append(known, e.ID)
		}
		slices.Sort(known)
		known = slices.Compact(known)
		switch {
		case len(known) == 0:
			return "", nil
		case commandErr != nil && slices.Equal(known, before):
			return "", commandErr
		}
		if out, commandErr = s.execEdge(ctx, slices.Concat([]string{"drain"}, flags, known)...); commandErr == nil {
			return out, nil
		}
		before = known
	}
}

// execEdge runs a command of the edge in its container.
func (s *stack) execEdge(ctx context.Context, args ...string) (string, error) {
	out, _, err := s.docker.Run(ctx, s.execArgs(args)...)
	if err != nil {
		return "", fmt.Errorf("ask the edge: %w", err)
	}
	return out, nil
}
