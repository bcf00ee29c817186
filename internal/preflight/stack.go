package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
)

// stack is what the compose files say, all profiles included.
type stack struct {
	Name     string                 `json:"name"`
	Services map[string]*service    `json:"services"`
	Networks map[string]network     `json:"networks"`
	Volumes  map[string]namedObject `json:"volumes"`
	Configs  map[string]fileObject  `json:"configs"`
	Secrets  map[string]fileObject  `json:"secrets"`

	activeNames    []string // services of the profiles that are in use, sorted
	unsetVariables []string // variables that the compose file uses and nobody sets, sorted
	edge           *service
	hasEngine      bool // can be asked

	// resolvesHostnames is whether Docker's DNS knows containers by their hostname, as Docker Engine 25 and later do.
	resolvesHostnames bool
}

// service is what `docker compose config --format json` says of a service, as far as it is checked.
type service struct {
	name string

	Image         string                       `json:"image"`
	Build         json.RawMessage              `json:"build"`
	Entrypoint    []string                     `json:"entrypoint"`
	Command       []string                     `json:"command"`
	ContainerName string                       `json:"container_name"`
	Hostname      string                       `json:"hostname"`
	NetworkMode   string                       `json:"network_mode"`
	PullPolicy    string                       `json:"pull_policy"`
	User          string                       `json:"user"`
	Environment   map[string]*string           `json:"environment"`
	Expose        []string                     `json:"expose"`
	Ports         []port                       `json:"ports"`
	Networks      map[string]networkAttachment `json:"networks"`
	Volumes       []mount                      `json:"volumes"`
	Configs       []fileObject                 `json:"configs"`
	Secrets       []fileObject                 `json:"secrets"`
	Profiles      []string                     `json:"profiles"`
	Links         []string                     `json:"links"` // SERVICE:ALIAS
	Scale         *int                         `json:"scale"`
	Deploy        struct {
		Replicas *int `json:"replicas"`
	} `json:"deploy"`
	HealthCheck struct {
		Test []string `json:"test"`
	} `json:"healthcheck"`
}

type port struct {
	Target    int    `json:"target"`
	Published string `json:"published"`
	HostIP    string `json:"host_ip"`
	Protocol  string `json:"protocol"`
}

type networkAttachment struct {
	Aliases []string `json:"aliases"`
}

type mount struct {
	Type     string `json:"type"`
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
	Bind     struct {
		CreateHostPath bool `json:"create_host_path"`
	} `json:"bind"`
}

// fileObject is a config or a secret of a compose file, or a service's share of one.
type fileObject struct {
	File   string `json:"file"`   // on this machine
	Source string `json:"source"` // its name
	Target string `json:"target"` // in the container
}

type network struct {
	namedObject
	Internal bool `json:"internal"`
}

// namedObject is a network or a volume: its name in Docker, and whether somebody else makes it.
type namedObject struct {
	Name     string `json:"name"`
	External any    `json:"external"`
}

func (v namedObject) isExternal() bool { return v.External != nil && v.External != false }

// replicas returns how many containers Compose starts for the service.
func (s *service) replicas() int {
	switch {
	case s.Scale != nil:
		return *s.Scale
	case s.Deploy.Replicas != nil:
		return *s.Deploy.Replicas
	}
	return 1
}

// imageName returns the image of a service. Compose names the one that it builds itself if the compose file does not.
func (s *stack) imageName(of *service) string { return cmp.Or(of.Image, s.Name+"-"+of.name) }

// networkOwner returns the service whose network a service uses: its own, or that of network_mode service:NAME.
func (s *stack) networkOwner(of *service) *service {
	if name, shared := strings.CutPrefix(of.NetworkMode, "service:"); shared && s.Services[name] != nil {
		return s.Services[name]
	}
	return of
}

// hasBuild reports whether the compose file says how to make the image.
func (s *service) hasBuild() bool { return len(s.Build) > 0 && string(s.Build) != "null" }

// readStack has Compose read the compose files. It returns a finding instead if they can't be used.
func (c *Check) readStack(ctx context.Context) (*stack, *Finding) {
	active, err := c.resolveCompose(ctx, c.Project.Profiles)
	if err != nil {
		found := explainComposeError(err)
		return nil, &found
	}
	s, err := c.resolveCompose(ctx, []string{"*"})
	if err != nil { // something in a profile that nobody uses
		s = active
	}
	s.activeNames, s.unsetVariables = slices.Sorted(maps.Keys(active.Services)), active.unsetVariables
	for name, service := range s.Services {
		service.name = name
	}
	for _, service := range s.Services {
		service.addFileMounts(s)
	}
	s.edge = s.Services[c.Edge]
	if s.edge == nil {
		found := errorFinding("compose file", "name it with --edge; there are: "+strings.Join(s.activeNames, ", "), "no service %q that could be the edge", c.Edge)
		return nil, &found
	}
	s.edge.Networks = s.networkOwner(s.edge).Networks
	return s, nil
}

// unsetVariablePattern is how Compose reports a variable without a value and without a default.
var unsetVariablePattern = regexp.MustCompile(`The \\?"([^"\\]+)\\?" variable is not set`)

// resolveCompose has Compose resolve the compose files. Compose writes each $ as $$, so that its output can be read as a compose file.
func (c *Check) resolveCompose(ctx context.Context, profiles []string) (*stack, error) {
	project := c.Project
	project.Profiles = profiles
	text, warnings, err := c.Docker.Run(ctx, project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, err
	}
	s := new(stack)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "$$", "$")), s); err != nil {
		return nil, fmt.Errorf("read what `docker compose config` printed: %w", err)
	}
	unset := make(map[string]bool)
	for _, match := range unsetVariablePattern.FindAllStringSubmatch(warnings, -1) {
		unset[match[1]] = true
	}
	s.unsetVariables = slices.Sorted(maps.Keys(unset))
	return s, nil
}

// checkVariables reports variables in whose place Compose puts an empty text without being told to. A $ that belongs to a
// value looks like one.
func checkVariables(s *stack) []Finding {
	var all []Finding
	for _, name := range s.unsetVariables {
		all = append(all, warningFinding("compose file", "set it in .env, or write ${"+name+":-} if it may be empty; a $ that belongs to a value is $$ in a compose file, and stands between single quotes in .env", "the variable %s is not set, and Compose puts an empty text in its place", name))
	}
	return all
}

// addFileMounts takes configs and secrets that are files of this machine for what they become: mounts.
func (s *service) addFileMounts(of *stack) {
	for _, kind := range []struct {
		shares []fileObject
		all    map[string]fileObject
		dir    string
	}{{s.Configs, of.Configs, "/"}, {s.Secrets, of.Secrets, "/run/secrets/"}} {
		for _, share := range kind.shares {
			target := cmp.Or(share.Target, share.Source)
			if !path.IsAbs(target) {
				target = kind.dir + target
			}
			if source := kind.all[share.Source].File; source != "" {
				s.Volumes = append(s.Volumes, mount{Type: "bind", Source: source, Target: target, ReadOnly: true})
			}
		}
	}
}

// explainComposeError says why Compose can't read its files.
func explainComposeError(err error) Finding {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := lines[len(lines)-1]
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errorFinding("compose file", "install Docker and its Compose plugin", "there is no docker command to read it with")
	case strings.Contains(err.Error(), "is not a docker command"), strings.Contains(err.Error(), "docker --help"):
		return errorFinding("compose file", "install Docker's Compose plugin, and see: docker compose version", "there is no docker compose to read it with")
	case strings.Contains(last, "required variable"):
		_, last, _ = strings.Cut(last, "required variable ")
		return errorFinding("secret", "edge init, or make env, writes .env with all secrets; in a .env that is there, give it a value: openssl rand -hex 32", "%s", last)
	}
	return errorFinding("compose file", "run it where compose.yaml is, or name the file with --file", "%s", last)
}

// activeServices returns the services that are in use.
func (s *stack) activeServices() []*service {
	var all []*service
	for _, name := range s.activeNames {
		all = append(all, s.Services[name])
	}
	return all
}

// isActive reports whether a service is of a profile that is in use.
func (s *stack) isActive(name string) bool { return slices.Contains(s.activeNames, name) }

// sharedNetworks returns the networks that two services share, sorted.
func sharedNetworks(a, b *service) []string {
	var all []string
	for name := range a.Networks {
		if _, both := b.Networks[name]; both {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// hostPath returns where a path of a service's container is on this machine.
func (s *service) hostPath(path string) (source string, found bool) {
	longest := ""
	for _, m := range s.Volumes {
		inside := path == m.Target || strings.HasPrefix(path, strings.TrimSuffix(m.Target, "/")+"/")
		if m.Type == "bind" && inside && len(m.Target) > len(longest) {
			longest, source = m.Target, m.Source+strings.TrimPrefix(path, m.Target)
		}
	}
	return source, longest != ""
}

func trimmed(text string) string { return strings.TrimSpace(text) }
