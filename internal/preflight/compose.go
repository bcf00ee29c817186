package preflight

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// readStack has Compose resolve the compose files. It returns a finding instead if Compose cannot read them.
func (c *Check) readStack(ctx context.Context) (*stack, *Finding) {
	active, warnings, err := c.resolveCompose(ctx, c.Project, c.Project.Profiles)
	if err != nil {
		found := explainComposeError(err)
		return nil, &found
	}
	all, _, err := c.resolveCompose(ctx, c.Project, []string{"*"})
	if err != nil { // a fault in a profile that is not in use
		all = active
	}
	s := &stack{Stack: all, activeNames: active.ServiceNames(), unsetVariables: unsetVariables(warnings)}
	for _, service := range s.Services {
		addFileMounts(service, s)
	}
	s.edge = s.Services[c.Edge]
	if s.edge == nil {
		found := errorFinding("compose file", "name it with --edge; there are: "+strings.Join(s.activeNames, ", "), "no service %q that could be the edge", c.Edge)
		return nil, &found
	}
	s.edge.Networks = s.NetworkOwner(s.edge).Networks
	return s, nil
}

// resolveCompose has Compose resolve the compose files of a project with some profiles.
func (c *Check) resolveCompose(ctx context.Context, project compose.Project, profiles []string) (s *compose.Stack, warnings string, err error) {
	project.Profiles = profiles
	text, warnings, err := c.Docker.Run(ctx, project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, "", err
	}
	s, err = compose.ParseStack(text)
	return s, warnings, err
}

// unsetVariablePattern matches Compose's warning about a variable that has neither a value nor a default.
var unsetVariablePattern = regexp.MustCompile(`The \\?"([^"\\]+)\\?" variable is not set`)

// unsetVariables returns the variables that Compose warns about, sorted.
func unsetVariables(warnings string) []string {
	names := make(map[string]bool)
	for _, match := range unsetVariablePattern.FindAllStringSubmatch(warnings, -1) {
		names[match[1]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// addFileMounts adds a service's configs and secrets that are files of this machine to its mounts, which is what Compose makes of
// them.
func addFileMounts(s *compose.Service, project *stack) {
	for _, kind := range []struct {
		references []compose.FileObject
		objects    map[string]compose.FileObject
		dir        string
	}{{s.Configs, project.Configs, "/"}, {s.Secrets, project.Secrets, "/run/secrets/"}} {
		for _, reference := range kind.references {
			target := cmp.Or(reference.Target, reference.Source)
			if !path.IsAbs(target) {
				target = kind.dir + target
			}
			if source := kind.objects[reference.Source].File; source != "" {
				s.Volumes = append(s.Volumes, compose.Mount{Type: "bind", Source: source, Target: target, ReadOnly: true})
			}
		}
	}
}

// explainComposeError returns the reason why Compose cannot read its files.
func explainComposeError(err error) Finding {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := lines[len(lines)-1]
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errorFinding("compose file", "install Docker and its Compose plugin", "there is no docker command")
	case strings.Contains(err.Error(), "is not a docker command"), strings.Contains(err.Error(), "docker --help"):
		return errorFinding("compose file", "install Docker's Compose plugin, and check: docker compose version", "there is no docker compose command")
	case strings.Contains(last, "required variable"):
		_, last, _ = strings.Cut(last, "required variable ")
		return errorFinding("secret", "edge init, or make env, writes a .env with all secrets; in an existing .env, set it: openssl rand -hex 32", "%s", last)
	}
	return errorFinding("compose file", "run it where compose.yaml is, or name the file with --file", "%s", last)
}
