package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// stack is a Compose project, as its compose files describe it, and the docker command that reads and changes it.
type stack struct {
	*compose.Stack
	docker  compose.StreamingDocker
	project compose.Project
	edge    edgeContainer
}

// readStack reads the compose files, and finds the container of the edge.
func (r *Rollout) readStack(ctx context.Context) (*stack, error) {
	s := &stack{docker: r.Docker, project: r.Project}
	err := s.readFiles(ctx)
	if r.Project.Name != "" && len(r.Project.Files) == 0 && (err != nil || s.lacksAny(r.Services)) {
		if running, ok := compose.RunningProject(ctx, r.Docker, r.Project); ok {
			s.project = running
			err = s.readFiles(ctx)
		}
	}
	if err == nil {
		s.edge, err = s.findEdge(ctx, r.Edge, r.Services)
	}
	if err != nil {
		return nil, s.explainSwarm(ctx, err, r.Services)
	}
	return s, nil
}

// explainSwarm returns err, or a better error if a service that Compose does not know is one of a Docker Swarm, which does its own rollouts.
func (s *stack) explainSwarm(ctx context.Context, err error, services []string) error {
	out, _, listErr := s.docker.Run(ctx, "service", "ls", "--format", "{{.Name}}")
	if listErr != nil {
		return err // not a manager
	}
	for _, name := range services {
		for known := range strings.FieldsSeq(out) {
			if known == name || strings.HasSuffix(known, "_"+name) {
				return hint.New(
					fmt.Errorf("%s is a service of a Docker Swarm, which replaces its tasks itself: %s", name, known),
					"docker service update --force "+known+"; with the update order start-first, no request is lost (docs/scaling.md)",
				)
			}
		}
	}
	return err
}

// readFiles reads the compose files.
func (s *stack) readFiles(ctx context.Context) error {
	text, err := s.runCompose(ctx, "config", "--format", "json")
	if err != nil {
		return hint.New(err, "run it where compose.yaml is, or name the file with --file")
	}
	s.Stack, err = compose.ParseStack(text)
	return err
}

func (s *stack) lacksAny(services []string) bool {
	return slices.ContainsFunc(services, func(name string) bool { return s.Services[name] == nil })
}

// selectServices returns the services to roll out, each once: the named ones or, if none is named, all that the edge has a route
// to.
func (s *stack) selectServices(ctx context.Context, named []string) ([]string, error) {
	if len(named) == 0 {
		return s.routedServices(ctx)
	}
	var selected []string
	for _, name := range named {
		if s.Services[name] == nil {
			return nil, s.noServiceError(ctx, name)
		}
		if name == s.edge.service && s.Gate(s.Services[name]) == nil {
			return nil, noGateError(name)
		}
		if !slices.Contains(selected, name) {
			selected = append(selected, name)
		}
	}
	// The edge comes first: a rollout that was killed may have left two, and rollouts of others ask one.
	slices.SortStableFunc(selected, func(a, b string) int {
		switch s.edge.service {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return selected, nil
}

// noServiceError says which other project runs a service of this name, if one does.
func (s *stack) noServiceError(ctx context.Context, name string) error {
	next := "one of a profile needs --profile; there are: " + joinNames(s.ServiceNames())
	out, _, err := s.docker.Run(ctx, "ps", "--filter", "label=com.docker.compose.service="+name, "--filter", "label=com.docker.compose.oneoff=False", "--format", `{{.Label "com.docker.compose.project"}}`)
	if projects := strings.Fields(out); err == nil && len(projects) > 0 {
		slices.Sort(projects)
		projects = slices.Compact(projects)
		next = fmt.Sprintf("edge rollout --project-name %s %s (projects that run it: %s)", projects[0], name, joinNames(projects))
	}
	return hint.New(fmt.Errorf("the project %s has no service %q", s.Name, name), next)
}

// routedServices returns the services that the edge has a route to, sorted.
func (s *stack) routedServices(ctx context.Context) (names []string, err error) {
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range s.ServiceNames() {
		if name != s.edge.service && len(s.routesTo(s.Services[name], routes)) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the edge has no route to any service of the project %s", s.Name)
	}
	return names, nil
}
