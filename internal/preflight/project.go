package preflight

import (
	"context"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/discovery"
)

// serves reports whether the edge of the stack serves a project. If the configuration names none, it serves its own.
func (config *edgeConfig) serves(s *stack, project string) bool {
	if len(config.projects) == 0 {
		return project == s.Name
	}
	return slices.Contains(config.projects, project) || slices.Contains(config.projects, discovery.AnyProject)
}

// projectsHint says how to serve more projects.
func (config *edgeConfig) projectsHint(s *stack, more ...string) string {
	served := config.projects
	if len(served) == 0 {
		served = []string{s.Name}
	}
	return "write `projects " + strings.Join(slices.Concat(served, more), " ") + "` in the global option edge"
}

// choices are the names of a service of several projects, for a hint.
func choices(projects []string, name string) string {
	names := make([]string, len(projects))
	for i, p := range projects {
		names[i] = p + "/" + name
	}
	return strings.Join(names, " or ")
}

// checkForeignRoute checks a service, NAME:PORT, that the compose file does not have, by the containers of other projects. ok is false
// if there are none.
func (c *Check) checkForeignRoute(ctx context.Context, s *stack, config *edgeConfig, name, host string) (found Finding, ok bool) {
	others := c.otherProjectsWith(s, config, host, "")
	var served []string
	for _, p := range others {
		if config.serves(s, p) {
			served = append(served, p)
		}
	}
	switch {
	case len(served) == 1:
		return c.checkOtherService(ctx, s, name, served[0], host), true
	case len(served) > 1:
		return errorFinding("route", "write in the route which one is meant: "+choices(served, name), "%s: the projects %s have it", name, strings.Join(served, " and ")), true
	case len(others) == 1:
		return errorFinding("route", config.projectsHint(s, others[0])+", or "+choices(others, name)+" in the route", "%s: project %s has it, which the edge does not serve", name, others[0]), true
	case len(others) > 1:
		return errorFinding("route", "write in the route which one is meant: "+choices(others, name), "%s: the projects %s have it, which the edge does not serve", name, strings.Join(others, " and ")), true
	}
	return Finding{}, false
}

// checkProjectRoute checks PROJECT/NAME:PORT of another project.
func (c *Check) checkProjectRoute(ctx context.Context, s *stack, config *edgeConfig, name, project, host string) Finding {
	switch {
	case s.hasEngine && !s.hasOtherProject(project):
		return errorFinding("route", "start it, name its directory (--with DIR), or correct the name"+s.knownOthers(), "%s: there is no project %s on this machine", name, project)
	case len(config.projects) > 0 && !config.serves(s, project):
		return errorFinding("route", config.projectsHint(s, project), "%s: the edge does not serve project %s", name, project)
	case slices.Contains(c.otherProjectsWith(s, config, host, project), project):
		return c.checkOtherService(ctx, s, name, project, host)
	case !s.hasEngine && s.others[project] == nil:
		return noteFinding("route", "start Docker, or name the project's directory: --with DIR", "%s is of another project, and is not checked without a Docker Engine", name)
	}
	return warningFinding("route", "start it, name the directory of its project (--with DIR), or correct the name"+s.knownOthers(), "%s: project %s has no container of %s", name, project, host)
}

// knownOthers returns the services of other projects that a route could name, for the end of a hint.
func (s *stack) knownOthers() string {
	if names := s.otherServices(); len(names) > 0 {
		return "; there are: " + strings.Join(names, ", ")
	}
	return ""
}

// checkOwnRoute checks that the edge serves a service of its own project, to, and no other project's under the same name. It returns nil
// if it does.
func (c *Check) checkOwnRoute(ctx context.Context, s *stack, config *edgeConfig, name, host string, to *compose.Service, hasProject bool) *Finding {
	if len(config.projects) == 0 {
		return nil
	}
	var found Finding
	if !config.serves(s, s.Name) {
		found = errorFinding("route", config.projectsHint(s, s.Name), "%s: the edge does not serve its own project, %s, which has %s", name, s.Name, to.Name)
		return &found
	}
	others := slices.DeleteFunc(c.otherProjectsWith(s, config, host, ""), func(p string) bool { return !config.serves(s, p) })
	if hasProject || len(others) == 0 {
		return nil
	}
	all := append([]string{s.Name}, others...)
	found = errorFinding("route", "write in the route which one is meant: "+choices(all, name), "%s: the projects %s have it", name, strings.Join(all, " and "))
	return &found
}

// splitProject splits PROJECT/NAME:PORT.
func splitProject(name string) (project, rest string) {
	if project, rest, ok := strings.Cut(name, "/"); ok {
		return project, rest
	}
	return "", name
}
