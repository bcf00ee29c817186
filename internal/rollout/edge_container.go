package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// edgeContainer is where the edge runs: in a service of the project that is rolled out, or in a container of another project.
type edgeContainer struct {
	project   string // the project and the service that it runs in
	name      string
	service   string // of the project; "": the edge is in another one
	container string // the container's name, if the edge is in another project
}

// findEdge finds the edge: SERVICE of the stack, or else of the only other project that runs it, or PROJECT/SERVICE. It checks that one
// container of it runs, unless the edge is among the services to roll out.
func (s *stack) findEdge(ctx context.Context, name string, toRollOut []string) (edgeContainer, error) {
	project, service, hasProject := strings.Cut(name, "/")
	if !hasProject {
		project, service = s.Name, name
	}
	if project == s.Name && s.Services[service] != nil {
		all, err := s.containers(ctx, service)
		if err != nil {
			return edgeContainer{}, err
		}
		running, next := len(runningContainers(all)), "docker compose up --detach --no-deps "+service
		if s.Gate(s.Services[service]) != nil {
			next = "docker compose up --detach " + service
			if running > 1 {
				if slices.Contains(toRollOut, service) {
					running = 1 // a rollout of it was killed, and this one continues it
				}
				next = "edge rollout " + service + " completes the rollout that has left them"
			}
		}
		return edgeContainer{project: project, name: service, service: service}, checkOneRuns(running, service, next)
	}
	if project == s.Name && hasProject {
		return edgeContainer{}, s.noEdgeError(service)
	}
	filter := []string{"ps", "--filter", "label=com.docker.compose.service=" + service, "--filter", "label=com.docker.compose.oneoff=False"}
	if hasProject {
		filter = append(filter, "--filter", "label=com.docker.compose.project="+project)
	}
	out, _, err := s.docker.Run(ctx, append(filter, "--format", `{{.Label "com.docker.compose.project"}}/{{.Names}}`)...)
	if err != nil {
		return edgeContainer{}, err
	}
	var projects, containers []string
	for line := range strings.FieldsSeq(out) {
		owner, container, _ := strings.Cut(line, "/")
		if owner != s.Name {
			projects, containers = append(projects, owner), append(containers, container)
		}
	}
	projects = slices.Compact(slices.Sorted(slices.Values(projects)))
	switch {
	case hasProject:
		return edgeContainer{project: project, name: service, container: strings.Join(containers, " ")}, checkOneRuns(len(containers), name, foreignHint(len(containers), project, service))
	case len(projects) == 0:
		return edgeContainer{}, s.noEdgeError(service)
	case len(projects) > 1:
		return edgeContainer{}, hint.New(
			fmt.Errorf("the project %s has no service %q, and several other projects have one: %s", s.Name, service, joinNames(projects)),
			"name the project: --edge "+projects[0]+"/"+service,
		)
	}
	return edgeContainer{project: projects[0], name: service, container: strings.Join(containers, " ")},
		checkOneRuns(len(containers), projects[0]+"/"+service, foreignHint(len(containers), projects[0], service))
}

// foreignHint says what to do if not one container of an edge in another project runs.
func foreignHint(running int, project, service string) string {
	if running > 1 {
		return fmt.Sprintf("wait for the end of its rollout; if that was killed: edge rollout -p %s %s", project, service)
	}
	return "start it: docker compose -p " + project + " up --detach " + service + "; or name another one with --edge PROJECT/SERVICE"
}

func (s *stack) noEdgeError(service string) error {
	return hint.New(
		fmt.Errorf("neither the project %s nor another one on this machine runs a service %q that could be the edge", s.Name, service),
		"name it with --edge SERVICE or --edge PROJECT/SERVICE; the project has: "+joinNames(s.ServiceNames()),
	)
}

// checkOneRuns returns an error unless one container of the edge runs.
func checkOneRuns(n int, name, next string) error {
	if n == 1 {
		return nil
	}
	return hint.New(fmt.Errorf("%d containers of %s run; a rollout needs one to ask", n, name), next)
}

// execArgs returns the arguments of docker that run a command of the edge in its container.
func (s *stack) execArgs(args []string) []string {
	if s.edge.service == "" {
		return slices.Concat([]string{"exec", s.edge.container, "edge"}, args)
	}
	return s.project.Args(slices.Concat([]string{"exec", "-T", s.edge.service, "edge"}, args)...)
}

// command returns what people type to run a command of the edge.
func (e edgeContainer) command(args string) string {
	if e.service == "" {
		return "docker exec " + e.container + " edge " + args
	}
	return "docker compose exec " + e.service + " edge " + args
}
