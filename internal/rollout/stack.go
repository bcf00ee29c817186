package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
)

// stack is the Compose project as it is, seen and changed through the docker command.
type stack struct {
	docker      compose.Docker
	project     compose.Project
	projectName string
	edge        string
	services    map[string]service
}

// readStack reads the compose file, and makes sure that the edge answers.
func (r *Rollout) readStack(ctx context.Context) (*stack, error) {
	s := &stack{docker: r.Docker, project: r.Project, edge: r.Edge}
	text, err := s.runCompose(ctx, "config", "--format", "json")
	if err != nil {
		return nil, &HintError{err, "run it where compose.yaml is, or name the file with --file"}
	}
	if s.projectName, s.services, err = parseConfig(text); err != nil {
		return nil, err
	}
	if _, known := s.services[s.edge]; !known {
		return nil, &HintError{
			fmt.Errorf("the project %s has no service %q that could be the edge", s.projectName, s.edge),
			"name it with --edge; there are: " + joinNames(slices.Sorted(maps.Keys(s.services))),
		}
	}
	edges, err := s.containers(ctx, s.edge)
	if err != nil {
		return nil, err
	}
	if n := len(runningContainers(edges)); n != 1 {
		return nil, &HintError{
			fmt.Errorf("%d containers of %s run; a rollout needs one to ask", n, s.edge),
			"docker compose up --detach --no-deps " + s.edge,
		}
	}
	return s, nil
}

// selectServices returns which services are to be rolled out: those given, or all that the edge has a route to.
func (s *stack) selectServices(ctx context.Context, given []string) ([]string, error) {
	var all []string
	for _, name := range given {
		if _, known := s.services[name]; !known {
			return nil, &HintError{
				fmt.Errorf("the project %s has no service %q", s.projectName, name),
				"one of a profile needs --profile; there are: " + joinNames(slices.Sorted(maps.Keys(s.services))),
			}
		}
		if name == s.edge {
			return nil, &HintError{
				errors.New(name + " is the edge itself, and nobody holds requests while it is replaced"),
				"docker compose up --detach --no-deps " + name + ", when it is quiet",
			}
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(given) > 0 {
		return all, nil
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		if name != s.edge && len(s.routesTo(s.services[name], routes)) > 0 {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the edge has no route to any service of the project %s", s.projectName)
	}
	return all, nil
}
