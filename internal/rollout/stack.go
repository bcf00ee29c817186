package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stack is the Compose project as it is, seen and changed through the docker command.
type stack struct {
	docker   Docker
	project  Project
	name     string
	edge     string
	services map[string]service
}

// look reads the compose file, and makes sure that the edge answers.
func (r *Rollout) look(ctx context.Context) (*stack, error) {
	s := &stack{docker: r.Docker, project: r.Project, edge: r.Edge}
	text, err := s.compose(ctx, "config", "--format", "json")
	if err != nil {
		return nil, &Problem{err, "run it where compose.yaml is, or name the file with --file"}
	}
	if s.name, s.services, err = parseConfig(text); err != nil {
		return nil, err
	}
	if _, known := s.services[s.edge]; !known {
		return nil, &Problem{
			fmt.Errorf("the project %s has no service %q that could be the edge", s.name, s.edge),
			"name it with --edge; there are: " + list(slices.Sorted(maps.Keys(s.services))),
		}
	}
	edges, err := s.containers(ctx, s.edge)
	if err != nil {
		return nil, err
	}
	if n := len(running(edges)); n != 1 {
		return nil, &Problem{
			fmt.Errorf("%d containers of %s run; a rollout needs one to ask", n, s.edge),
			"docker compose up --detach --no-deps " + s.edge,
		}
	}
	return s, nil
}

// chosen returns which services are to be rolled out: those given, or all that the edge has a route to.
func (s *stack) chosen(ctx context.Context, given []string) ([]string, error) {
	var all []string
	for _, name := range given {
		if _, known := s.services[name]; !known {
			return nil, &Problem{
				fmt.Errorf("the project %s has no service %q", s.name, name),
				"one of a profile needs --profile; there are: " + list(slices.Sorted(maps.Keys(s.services))),
			}
		}
		if name == s.edge {
			return nil, &Problem{
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
		return nil, fmt.Errorf("the edge has no route to any service of the project %s", s.name)
	}
	return all, nil
}

// compose runs a command of Compose on the project.
func (s *stack) compose(ctx context.Context, args ...string) (string, error) {
	out, _, err := s.docker.Run(ctx, s.project.compose(args...)...)
	return out, err
}

// up has Compose start containers of a service from what is on this machine.
func (s *stack) up(ctx context.Context, service string, flags ...string) error {
	args := slices.Concat([]string{"up", "--detach", "--no-deps", "--no-build", "--pull", "never"}, flags, []string{service})
	_, err := s.compose(ctx, args...)
	return err
}

// foresee returns an error if starting containers of a service would stop others or take a network from them: Compose does
// that, without asking, when a network is described in another way than before. It changes nothing.
func (s *stack) foresee(ctx context.Context, service string, flags ...string) error {
	args := slices.Concat([]string{"--dry-run", "up", "--detach", "--no-deps", "--no-build", "--pull", "never", "--no-recreate"}, flags, []string{service})
	stdout, stderr, err := s.docker.Run(ctx, s.project.compose(args...)...)
	if err != nil {
		return err
	}
	var harm []string
	for line := range strings.Lines(stdout + stderr) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, " Stopping") || strings.HasSuffix(line, " Removed") {
			harm = append(harm, strings.Join(strings.Fields(line)[3:], " ")) // after DRY-RUN MODE -
		}
	}
	if len(harm) == 0 {
		return nil
	}
	return &Problem{
		fmt.Errorf("more has changed in the file than a rollout can bring about: to start %s, Compose would do this: %s", service, list(harm)),
		"docker compose up --detach does it, with an interruption",
	}
}

// want returns the version that Compose would start now. The image is empty if this machine doesn't have it.
func (s *stack) want(ctx context.Context, service string) (version, error) {
	out, err := s.compose(ctx, "config", "--hash", service)
	if err != nil {
		return version{}, err
	}
	_, hash, found := strings.Cut(strings.TrimSpace(out), " ")
	if !found {
		return version{}, fmt.Errorf("read what `docker compose config --hash` printed: %q", out)
	}
	return version{hash, s.imageID(ctx, s.services[service].image(s.name))}, nil
}

// imageID returns the ID of an image, and nothing if it is not on this machine.
func (s *stack) imageID(ctx context.Context, image string) string {
	out, _, err := s.docker.Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// remove stops containers and removes them, with their volumes that have no name.
func (s *stack) remove(ctx context.Context, all []container, stop []string) error {
	if len(all) == 0 {
		return nil
	}
	_, _, stopped := s.docker.Run(ctx, slices.Concat([]string{"stop"}, stop, ids(all))...)
	_, _, removed := s.docker.Run(ctx, slices.Concat([]string{"rm", "--volumes"}, ids(all))...)
	return errors.Join(stopped, removed)
}
