package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// stack is what the compose files say, all profiles included.
type stack struct {
	Name     string              `json:"name"`
	Services map[string]*service `json:"services"`
	Networks map[string]network  `json:"networks"`
	Volumes  map[string]named    `json:"volumes"`
	Configs  map[string]file     `json:"configs"`
	Secrets  map[string]file     `json:"secrets"`

	active []string // services of the profiles that are in use, sorted
	edge   *service
	engine bool // can be asked
}

// service is what `docker compose config --format json` says of a service, as far as it is checked.
type service struct {
	name string

	Image         string                `json:"image"`
	Build         json.RawMessage       `json:"build"`
	Command       []string              `json:"command"`
	ContainerName string                `json:"container_name"`
	NetworkMode   string                `json:"network_mode"`
	User          string                `json:"user"`
	Environment   map[string]*string    `json:"environment"`
	Expose        []string              `json:"expose"`
	Ports         []port                `json:"ports"`
	Networks      map[string]attachment `json:"networks"`
	Volumes       []mount               `json:"volumes"`
	Configs       []file                `json:"configs"`
	Secrets       []file                `json:"secrets"`
	Profiles      []string              `json:"profiles"`
}

type port struct {
	Target    int    `json:"target"`
	Published string `json:"published"`
	HostIP    string `json:"host_ip"`
	Protocol  string `json:"protocol"`
}

type attachment struct {
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

// file is a config or a secret of a compose file, or a service's share of one.
type file struct {
	File   string `json:"file"`   // on this machine
	Source string `json:"source"` // its name
	Target string `json:"target"` // in the container
}

type network struct {
	named
	Internal bool `json:"internal"`
}

// named is a network or a volume: its name in Docker, and whether somebody else makes it.
type named struct {
	Name     string `json:"name"`
	External any    `json:"external"`
}

func (v named) external() bool { return v.External != nil && v.External != false }

// built reports whether the compose file says how to make the image.
func (s *service) built() bool { return len(s.Build) > 0 && string(s.Build) != "null" }

// read has Compose read the compose files. It returns a finding instead if they can't be used.
func (c *Check) read(ctx context.Context) (*stack, *Finding) {
	active, err := c.config(ctx, c.Project.Profiles)
	if err != nil {
		found := unreadable(err)
		return nil, &found
	}
	s, err := c.config(ctx, []string{"*"})
	if err != nil { // something in a profile that nobody uses
		s = active
	}
	s.active = slices.Sorted(maps.Keys(active.Services))
	for name, service := range s.Services {
		service.name = name
	}
	for _, service := range s.Services {
		service.mountFiles(s)
	}
	s.edge = s.Services[c.Edge]
	if s.edge == nil {
		found := failure("compose file", "name it with --edge; there are: "+strings.Join(s.active, ", "), "no service %q that could be the edge", c.Edge)
		return nil, &found
	}
	return s, nil
}

func (c *Check) config(ctx context.Context, profiles []string) (*stack, error) {
	project := c.Project
	project.Profiles = profiles
	text, _, err := c.Docker.Run(ctx, project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, err
	}
	s := new(stack)
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fmt.Errorf("read what `docker compose config` printed: %w", err)
	}
	return s, nil
}

// mountFiles takes configs and secrets that are files of this machine for what they become: mounts.
func (s *service) mountFiles(of *stack) {
	for _, kind := range []struct {
		shares []file
		all    map[string]file
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

// unreadable says why Compose can't read its files.
func unreadable(err error) Finding {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := lines[len(lines)-1]
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return failure("compose file", "install Docker and its Compose plugin", "there is no docker command to read it with")
	case strings.Contains(err.Error(), "is not a docker command"), strings.Contains(err.Error(), "docker --help"):
		return failure("compose file", "install Docker's Compose plugin, and see: docker compose version", "there is no docker compose to read it with")
	case strings.Contains(last, "required variable"):
		_, last, _ = strings.Cut(last, "required variable ")
		return failure("secret", "edge init, or make env, writes .env with all secrets; in a .env that is there, give it a value: openssl rand -hex 32", "%s", last)
	}
	return failure("compose file", "run it where compose.yaml is, or name the file with --file", "%s", last)
}

// services returns the services that are in use.
func (s *stack) services() []*service {
	var all []*service
	for _, name := range s.active {
		all = append(all, s.Services[name])
	}
	return all
}

// used reports whether a service is of a profile that is in use.
func (s *stack) used(name string) bool { return slices.Contains(s.active, name) }

// named returns the service that a host name means: a service, a container's name, or an alias on a network.
func (s *stack) named(host string) *service {
	if host == "" {
		return nil
	}
	if found := s.Services[host]; found != nil {
		return found
	}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		found := s.Services[name]
		if found.ContainerName == host {
			return found
		}
		for _, a := range found.Networks {
			if slices.Contains(a.Aliases, host) {
				return found
			}
		}
	}
	return nil
}

// common returns the networks that two services share, sorted.
func common(a, b *service) []string {
	var all []string
	for name := range a.Networks {
		if _, both := b.Networks[name]; both {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// onHost returns where a path of a service's container is on this machine.
func (s *service) onHost(path string) (source string, found bool) {
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
