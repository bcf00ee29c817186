package preflight

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// readOtherProjects reads the compose files in the directories of [Check.With]. Their projects need not run.
func (c *Check) readOtherProjects(ctx context.Context, s *stack) (all []Finding) {
	s.others = make(map[string]*stack)
	for _, dir := range c.With {
		other, err := c.readOtherProject(ctx, s, compose.Project{Directory: dir})
		switch {
		case err != nil:
			found := explainComposeError(err)
			found.Message, found.Hint = dir+": "+found.Message, "correct the directory in --with, or its compose file: docker compose --project-directory "+dir+" config"
			all = append(all, found)
		case other.Name == s.Name:
			all = append(all, errorFinding("compose file", "write `name: ` and another name at the top of its compose file", "%s: its project has the name of this one, %s; each would replace the containers of the other", dir, s.Name))
		case s.others[other.Name] != nil:
			all = append(all, errorFinding("compose file", "write `name: ` and another name at the top of its compose file", "%s: another directory has a project %s too", dir, other.Name))
		default:
			s.others[other.Name] = other
			all = append(all, okFinding("compose file", "%s: project %s (services: %d)", dir, other.Name, len(other.activeNames)))
		}
	}
	return all
}

func (c *Check) readOtherProject(ctx context.Context, s *stack, project compose.Project) (*stack, error) {
	active, _, err := c.resolveCompose(ctx, project, nil)
	if err != nil {
		return nil, err
	}
	all, _, err := c.resolveCompose(ctx, project, []string{"*"})
	if err != nil { // a fault in a profile that is not in use
		all = active
	}
	return &stack{Stack: all, activeNames: active.ServiceNames(), hasEngine: s.hasEngine, resolvesHostnames: s.resolvesHostnames}, nil
}

// otherProject returns another project, by the directory and the files that its containers come from if it is not one of [Check.With]; nil
// if these can't be read.
func (c *Check) otherProject(ctx context.Context, s *stack, name string) *stack {
	if other, isKnown := s.others[name]; isKnown {
		return other
	}
	var other *stack
	if files, ok := compose.RunningProject(ctx, c.Docker, compose.Project{Name: name}); ok {
		other, _ = c.readOtherProject(ctx, s, files) // the files may be those of another user, or gone
	}
	s.others[name] = other
	return other
}

// otherContainer is a container of another project.
type otherContainer struct {
	project, service, name string
	networks               []string
}

// listOtherContainers lists the containers of other projects on this machine, running or not.
func (c *Check) listOtherContainers(ctx context.Context, s *stack) {
	if !s.hasEngine {
		return
	}
	const format = `{{.Label "com.docker.compose.project"}}{{"\t"}}{{.Label "com.docker.compose.service"}}{{"\t"}}{{.Names}}{{"\t"}}{{.Networks}}`
	out, _, err := c.Docker.Run(ctx, "ps", "--all", "--filter", "label=com.docker.compose.oneoff=False", "--format", format)
	if err != nil {
		return // checkContainers reports that containers can't be listed
	}
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 4 || fields[0] == s.Name {
			continue
		}
		s.otherContainers = append(s.otherContainers, otherContainer{fields[0], fields[1], fields[2], strings.Split(fields[3], ",")})
	}
}

// otherProjectsWith returns the other projects that have a service or a container of a name, sorted: those that have containers on this
// machine, and those of [Check.With]. Containers of projects that the edge does not serve, and that the route does not name, count only if
// they are on a network of the edge's.
func (c *Check) otherProjectsWith(s *stack, config *edgeConfig, host, named string) []string {
	projects := make(map[string]bool)
	for name, other := range s.others {
		if other != nil && other.serviceByOwnName(host) != nil {
			projects[name] = true
		}
	}
	networks := s.edgeNetworks()
	for _, o := range s.otherContainers {
		isNamed := strings.EqualFold(o.service, host) || strings.EqualFold(o.name, host)
		isShared := slices.ContainsFunc(o.networks, func(n string) bool { return slices.Contains(networks, n) })
		if isNamed && (isShared || o.project == named || config.serves(s, o.project)) {
			projects[o.project] = true
		}
	}
	return slices.Sorted(maps.Keys(projects))
}

// hasOtherProject reports whether another project has a container on this machine, or is one of [Check.With].
func (s *stack) hasOtherProject(name string) bool {
	return s.others[name] != nil || slices.ContainsFunc(s.otherContainers, func(o otherContainer) bool { return o.project == name })
}

// otherServices returns the services of other projects, PROJECT/NAME, that the edge could have routes to, sorted.
func (s *stack) otherServices() (names []string) {
	networks := s.edgeNetworks()
	for _, o := range s.otherContainers {
		if slices.ContainsFunc(o.networks, func(n string) bool { return slices.Contains(networks, n) }) {
			names = append(names, o.project+"/"+o.service)
		}
	}
	for project, other := range s.others {
		if other != nil {
			for _, name := range other.activeNames {
				names = append(names, project+"/"+name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// edgeNetworks returns the edge's networks, by their names in Docker.
func (s *stack) edgeNetworks() (names []string) {
	for key := range s.edge.Networks {
		names = append(names, s.Networks[key].Name)
	}
	return names
}

// serviceByOwnName returns the service of a name, or that with the container of a name, or nil. Names are compared in lower case.
func (s *stack) serviceByOwnName(name string) *compose.Service {
	for _, key := range slices.Sorted(maps.Keys(s.Services)) {
		service := s.Services[key]
		if strings.EqualFold(key, name) || strings.EqualFold(service.ContainerName, name) || s.isComposeContainerName(service, name) {
			return service
		}
	}
	return nil
}

// checkOtherService checks a service of another project that a route leads to, as far as the project's compose files can be read.
func (c *Check) checkOtherService(ctx context.Context, s *stack, name, project, host string) Finding {
	other := c.otherProject(ctx, s, project)
	if other == nil || other.serviceByOwnName(host) == nil {
		return okFinding("route", "%s: project %s has it", name, project)
	}
	found := c.checkReachable(ctx, s, other, other.serviceByOwnName(host), name)
	found.Message += " (project " + project + ")"
	return found
}

// sharedNetworks returns the networks, by their names in Docker, that the edge and a service of another project are both on, sorted. For
// a hint, it also returns those of the edge that the service could join.
func sharedNetworks(s, other *stack, service *compose.Service) (shared []string, joinable string) {
	var toJoin []string
	for key := range s.edge.Networks {
		network := s.Networks[key]
		if !network.Internal { // such as that of the guard
			toJoin = append(toJoin, network.Name)
		}
	}
	for key := range service.Networks {
		if name := other.Networks[key].Name; slices.Contains(s.edgeNetworks(), name) {
			shared = append(shared, name)
		}
	}
	slices.Sort(shared)
	slices.Sort(toJoin)
	return shared, strings.Join(toJoin, ", ")
}
