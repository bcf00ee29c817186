// Package preflight checks, before a stack goes live, its compose files, its configuration, the machine and the containers that run
// already for what would keep it from working. It changes nothing.
package preflight

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// Check says what to check, and how to ask the machine and the network. A Check runs once.
type Check struct {
	Docker  compose.Docker
	Project compose.Project
	// With are the directories of other projects, whose services the edge has routes to. Those that run need not be named.
	With []string
	// Edge is the Compose service that runs the edge.
	Edge string
	// Config is the edge's configuration file on this machine. If it is empty, it is the file that the compose file mounts.
	Config string
	// Offline uses no network, and makes a Docker Engine that does not answer a warning instead of an error.
	Offline bool

	// Adapt converts a configuration file to JSON, and Validate loads a JSON configuration without running it. Both use env as their
	// whole environment. The text of an error is part of a finding.
	Adapt    func(ctx context.Context, file string, env []string) ([]byte, error)
	Validate func(ctx context.Context, config []byte, env []string) error

	// LookupIP resolves a host name.
	LookupIP func(ctx context.Context, host string) ([]netip.Addr, error)
	// LocalAddresses returns the addresses of this machine's interfaces.
	LocalAddresses func() ([]netip.Addr, error)
	// TryListen returns an error if this machine cannot listen on an address. The network is "tcp" or "udp".
	TryListen func(network, address string) error
	// Client sends requests to certificate authorities.
	Client *http.Client
	Now    func() time.Time
}

// insecureTransport does not verify certificates: with a wrong clock, verification would fail.
var insecureTransport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}

// New returns a check of a project that uses this machine and its network. The caller sets Adapt and Validate.
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

// Run runs all checks, and returns the findings in the order in which to correct them. It skips a check that depends on something
// broken.
func (c *Check) Run(ctx context.Context) []Finding {
	s, broken := c.readStack(ctx)
	if broken != nil {
		return []Finding{*broken}
	}
	all := []Finding{okFinding("compose file", "project %s (services: %d)", s.Name, len(s.activeNames))}
	all = append(all, checkVariables(s)...)
	all = append(all, c.checkDeployed(s)...)
	all = append(all, c.checkSecrets(s)...)
	all = append(all, c.checkEngine(ctx, s))
	c.listOtherContainers(ctx, s)
	all = append(all, c.readOtherProjects(ctx, s)...)
	all = append(all, c.checkFiles(s)...)
	all = append(all, c.checkCertificates(s)...)
	all = append(all, checkCDN(s)...)
	all = append(all, c.checkRemoteDatabases(ctx, s)...)

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
	all = append(all, checkBackup(s)...)
	if config != nil {
		all = append(all, c.checkGuard(s, config)...)
	}
	all = append(all, c.checkContainers(ctx, s)...)
	all = append(all, c.checkFromEdge(ctx, s)...)
	return append(all, c.compareClock(ctx, config))
}

// checkEngine checks that the Docker Engine answers, and records its abilities in s.
func (c *Check) checkEngine(ctx context.Context, s *stack) Finding {
	version, _, err := c.Docker.Run(ctx, "version", "--format", "{{.Server.Version}}")
	if err == nil {
		s.hasEngine = true
		major, _, _ := strings.Cut(version, ".")
		n, err := strconv.Atoi(major)
		s.resolvesHostnames = err == nil && n >= 25
		return okFinding("engine", "Docker Engine %s answers", strings.TrimSpace(version))
	}
	const hint = "start it (systemctl start docker), and check that this user can reach it: docker info"
	if c.Offline {
		return warningFinding("engine", hint, "the Docker Engine does not answer, so images, volumes, ports of other containers and the guard are not checked: %v", err)
	}
	return errorFinding("engine", hint, "the Docker Engine does not answer: %v", err)
}

// checkFromEdge has the running edge check what only it can: which requests the guard lets through, and whether it can store
// certificates.
func (c *Check) checkFromEdge(ctx context.Context, s *stack) []Finding {
	if !s.hasEngine {
		return nil
	}
	const hint = "run edge check again when the stack is up"
	out, _, err := c.Docker.Run(ctx, c.Project.Args("ps", "--quiet", "--status", "running", c.Edge)...)
	if err != nil || strings.TrimSpace(out) == "" {
		return []Finding{warningFinding("edge", hint, "it does not run, so the guard and the storage are not checked")}
	}
	out, _, runErr := c.Docker.Run(ctx, c.Project.Args("exec", "-T", c.Edge, "edge", "check", "--inside", "--json")...)
	var report Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Findings) == 0 {
		return []Finding{warningFinding("edge", "is it an older version? "+hint, "the running edge cannot check the guard and the storage: %v", errors.Join(runErr, err))}
	}
	// The edge has this machine's clock, which compareClock checks.
	findings := slices.DeleteFunc(report.Findings, func(f Finding) bool { return f.Check == "clock" && f.Level == OK })
	return judgeBackups(s, findings)
}
