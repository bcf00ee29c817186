package check

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// Check is what is to be checked, and how the world is asked. Run it once.
type Check struct {
	Docker  compose.Docker
	Project compose.Project
	// Edge is the Compose service that is the edge.
	Edge string
	// Config is the edge's configuration on this machine; "" is the file that the compose file mounts.
	Config string
	// Offline asks nobody beyond this machine, and takes an Engine that can't be reached for a warning.
	Offline bool

	// Adapt makes JSON of a configuration, with exactly this environment, and Validate loads one without running it. An
	// error is what a person should read.
	Adapt    func(ctx context.Context, file string, env []string) ([]byte, error)
	Validate func(ctx context.Context, config []byte, env []string) error

	// LookUp resolves a host name.
	LookUp func(ctx context.Context, host string) ([]netip.Addr, error)
	// Addresses are this machine's own.
	Addresses func() ([]netip.Addr, error)
	// Listen tries to listen on "tcp" or "udp".
	Listen func(network, address string) error
	// Client asks certificate authorities.
	Client *http.Client
	Now    func() time.Time
}

// unverified asks whoever answers: by a clock that may be wrong, certificates can't be judged.
var unverified = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}

// New returns a check of a project that asks this machine and the internet.
func New(docker compose.Docker, project compose.Project, edge string) *Check {
	return &Check{
		Docker: docker, Project: project, Edge: edge,
		LookUp: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Addresses: addresses,
		Listen:    listen,
		Client:    &http.Client{Timeout: 10 * time.Second, Transport: unverified},
		Now:       time.Now,
	}
}

// Run checks everything, and returns what it found in the order in which a person would want to mend it. What can't be looked
// at because something before it is broken is left out.
func (c *Check) Run(ctx context.Context) []Finding {
	s, broken := c.read(ctx)
	if broken != nil {
		return []Finding{*broken}
	}
	all := []Finding{ok("compose file", "project %s (services: %d)", s.Name, len(s.active))}
	all = append(all, unsetVariables(s)...)
	all = append(all, c.secrets(s)...)
	all = append(all, c.engine(ctx, s))
	all = append(all, c.files(s)...)

	config, found := c.configuration(ctx, s)
	all = append(all, found)
	if config != nil {
		all = append(all, c.routes(ctx, s, config)...)
		all = append(all, wildcards(config)...)
		if !c.Offline {
			all = append(all, c.domains(ctx, config)...)
		}
	}
	all = append(all, c.ports(ctx, s, config)...)
	all = append(all, c.images(ctx, s)...)
	all = append(all, c.networks(ctx, s)...)
	all = append(all, c.volumes(ctx, s)...)
	if config != nil {
		all = append(all, c.guard(s, config)...)
	}
	all = append(all, c.containers(ctx, s)...)
	all = append(all, c.fromInside(ctx, s)...)
	return append(all, c.clock(ctx, config))
}

// engine reports whether there is a Docker Engine to ask, and notes in s what it can do.
func (c *Check) engine(ctx context.Context, s *stack) Finding {
	version, _, err := c.Docker.Run(ctx, "version", "--format", "{{.Server.Version}}")
	if err == nil {
		s.engine = true
		major, _, _ := strings.Cut(version, ".")
		n, err := strconv.Atoi(major)
		s.resolvesHostnames = err == nil && n >= 25
		return ok("engine", "Docker Engine %s answers", trimmed(version))
	}
	const hint = "start it (systemctl start docker), and see that you may ask it: docker info"
	if c.Offline {
		return warning("engine", hint, "the Docker Engine can't be asked, so that images, volumes, ports of other containers and the guard were not looked at: %v", err)
	}
	return failure("engine", hint, "the Docker Engine can't be asked: %v", err)
}
