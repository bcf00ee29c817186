package preflight

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

	// LookupIP resolves a host name.
	LookupIP func(ctx context.Context, host string) ([]netip.Addr, error)
	// LocalAddresses are this machine's own.
	LocalAddresses func() ([]netip.Addr, error)
	// TryListen tries to listen on "tcp" or "udp".
	TryListen func(network, address string) error
	// Client asks certificate authorities.
	Client *http.Client
	Now    func() time.Time
}

// insecureTransport asks whoever answers: by a clock that may be wrong, certificates can't be judged.
var insecureTransport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}

// New returns a check of a project that asks this machine and the internet.
func New(docker compose.Docker, project compose.Project, edge string) *Check {
	return &Check{
		Docker: docker, Project: project, Edge: edge,
		LookupIP: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		LocalAddresses: localAddresses,
		TryListen:      tryListen,
		Client:         &http.Client{Timeout: 10 * time.Second, Transport: insecureTransport},
		Now:            time.Now,
	}
}

// Run checks everything, and returns what it found in the order in which a person would want to mend it. What can't be looked
// at because something before it is broken is left out.
func (c *Check) Run(ctx context.Context) []Finding {
	s, broken := c.readStack(ctx)
	if broken != nil {
		return []Finding{*broken}
	}
	all := []Finding{okFinding("compose file", "project %s (services: %d)", s.Name, len(s.activeNames))}
	all = append(all, checkVariables(s)...)
	all = append(all, c.checkSecrets(s)...)
	all = append(all, c.checkEngine(ctx, s))
	all = append(all, c.checkFiles(s)...)

	config, found := c.checkConfiguration(ctx, s)
	all = append(all, found)
	if config != nil {
		all = append(all, c.checkRoutes(ctx, s, config)...)
		all = append(all, checkWildcards(config)...)
		if !c.Offline {
			all = append(all, c.checkDomains(ctx, config)...)
		}
	}
	all = append(all, c.checkPorts(ctx, s, config)...)
	all = append(all, c.checkImages(ctx, s)...)
	all = append(all, c.checkNetworks(ctx, s)...)
	all = append(all, c.checkVolumes(ctx, s)...)
	if config != nil {
		all = append(all, c.checkGuard(s, config)...)
	}
	all = append(all, c.checkContainers(ctx, s)...)
	all = append(all, c.checkFromEdge(ctx, s)...)
	return append(all, c.compareClock(ctx, config))
}

// checkEngine reports whether there is a Docker Engine to ask, and notes in s what it can do.
func (c *Check) checkEngine(ctx context.Context, s *stack) Finding {
	version, _, err := c.Docker.Run(ctx, "version", "--format", "{{.Server.Version}}")
	if err == nil {
		s.hasEngine = true
		major, _, _ := strings.Cut(version, ".")
		n, err := strconv.Atoi(major)
		s.resolvesHostnames = err == nil && n >= 25
		return okFinding("engine", "Docker Engine %s answers", trimmed(version))
	}
	const hint = "start it (systemctl start docker), and see that you may ask it: docker info"
	if c.Offline {
		return warningFinding("engine", hint, "the Docker Engine can't be asked, so that images, volumes, ports of other containers and the guard were not looked at: %v", err)
	}
	return errorFinding("engine", hint, "the Docker Engine can't be asked: %v", err)
}
