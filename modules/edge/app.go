// Package edge is the app `edge`: it owns the registry of services and the sources that feed it, and gives services to the modules
// that route to them.
package edge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tracestats"
)

func init() {
	caddy.RegisterModule(new(App))
	tracestats.New() // before any configuration makes an exporter
}

// App configures how the edge finds containers. A configuration without it uses DNS alone, with the defaults below.
//
// What the edge finds outlives reloads. A Docker Engine that is down, slow, restarting or refuses requests prevents neither a start, nor
// a reload, nor a validation, and known containers go on getting requests.
type App struct {
	// Where the Docker Engine, or the socket proxy in front of it, listens: `unix:///var/run/docker.sock` or
	// `tcp://docker-guard:2375`. Default: none; the edge uses DNS alone.
	DockerHost string `json:"docker_host,omitempty"`

	// Whether docker_host leads to managers of a Docker Swarm. The edge then watches the Swarm's tasks instead of the containers of one host, and a
	// project is a stack. The guard must allow it (`edge guard --swarm`). Default: false.
	Swarm bool `json:"swarm,omitempty"`

	// Whether the edge runs in a pod and watches the EndpointSlices and pods of Kubernetes. A project is a namespace, and the port in a route is that of
	// the container. Default: false.
	Kubernetes bool `json:"kubernetes,omitempty"`

	// The old name of docker_host, accepted until version 1.0.
	//
	// Deprecated: use docker_host.
	Endpoint string `json:"endpoint,omitempty"`

	// The Compose projects whose services are served, or `any` for all. If several have a service of one name, routes name it with its
	// project: `shop/web:8080`. Default: the edge's own project, and services that routes name with their project.
	Projects []string `json:"projects,omitempty"`

	// The only Compose project whose services are served, instead of projects.
	Project string `json:"project,omitempty"`

	// The Docker networks whose addresses are used. Default: all networks that the edge is attached to.
	Networks []string `json:"networks,omitempty"`

	// Signals, as names or numbers, that tell a container to stop, in addition to those that usually do. By default HUP, USR1, USR2 and
	// WINCH do not, because programs use them for something else.
	StopSignals []string `json:"stop_signals,omitempty"`

	// How long a container must have been unhealthy, by Docker's own health check, before the edge has it restarted; Docker itself only restarts
	// containers that have ended. It restarts those that are labelled `edge.restart: unhealthy`, one of a service at a time, and none while an operator
	// or a rollout is at work on the service. `edge guard` must allow it (`--restart-unhealthy`). Default: 0, nothing is restarted.
	RestartUnhealthy caddy.Duration `json:"restart_unhealthy,omitempty"`

	// How long a container that was told to stop may take to exit. If it still runs after that, it gets requests again.
	// Default: 60s.
	TerminatingTimeout caddy.Duration `json:"terminating_timeout,omitempty"`

	// The old name of terminating_timeout, accepted until version 1.0.
	//
	// Deprecated: use terminating_timeout.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// The DNS resolver. Default: Docker's own, `127.0.0.11:53`.
	Resolver string `json:"resolver,omitempty"`

	// How often the edge looks up each name. Default: 1s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long a request waits for a ready endpoint of its service. It must exceed the time that a container takes to stop and to
	// start. Default: 60s.
	Hold caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait for one service. Default: 1000.
	MaxHeld int `json:"max_held,omitempty"`

	// How many requests of one client may wait for one service; negative: any number. The requests of a trusted proxy itself are not
	// counted, and neither are those from the container's gateway, behind which Docker may hide all clients. Default: a tenth of
	// `max_held`, but at least 10.
	MaxHeldPerClient int `json:"max_held_per_client,omitempty"`

	// Spoofable request headers, such as `X-Original-URL`, that reach the application nevertheless. Case and separators make no
	// difference. Default: none.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// The time over which the edge closes WebSockets: those of a container that is told to stop, and all when the edge stops. It must be
	// shorter than the stop timeout of the containers. Default: 5s.
	CloseWindow caddy.Duration `json:"close_window,omitempty"`

	// How long the edge goes on as before when it stops, except that `/health` fails and responses end their connections: a load balancer in front
	// sends clients elsewhere meanwhile. Default: 0.
	ShutdownDelay caddy.Duration `json:"shutdown_delay,omitempty"`

	// Services with fixed addresses, by the name that routes use: {"bigcapital-server:3000": ["127.0.0.1:3001"]}. No other source is
	// used for these.
	Static map[string][]string `json:"static,omitempty"`

	// The secret that affinity cookies are signed with, at least 16 characters. Several edges in front of the same containers need the
	// same secret. Default: the edge makes a key and keeps it in Caddy's storage.
	AffinitySecret string `json:"affinity_secret,omitempty"`

	static               discovery.Static
	keptHeaders          map[string]bool // KeepHeaders in lower case without separators
	storage              certmagic.Storage
	startCheck           func() error // returns an error if the edge had better not start
	affinityKeyRequested atomic.Bool
	affinityKeyOnce      sync.Once
	affinityKey          []byte
	runtime              *runtime
	provisionedAt        time.Time // before the first event about its certificates
	log                  *zap.Logger
	httpLog              *zap.Logger

	mu       sync.Mutex
	services map[string]*serviceRef
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edge", New: func() caddy.Module { return new(App) }}
}

// Provision checks the configuration and acquires the runtime. It uses neither Docker nor DNS, because validation provisions too.
func (a *App) Provision(ctx caddy.Context) error {
	a.log, a.httpLog = ctx.Logger(), ctx.Logger(httpApp{})
	a.storage = ctx.Storage()
	a.startCheck = func() error { return a.checkStart(ctx) }
	a.services = make(map[string]*serviceRef)
	if err := a.acceptOldNames(); err != nil {
		return err
	}
	if err := errors.Join(a.validate(), a.validateTogether()); err != nil {
		return err
	}
	r, err := acquireRuntime(a.log, a.httpLog)
	if err != nil {
		return err
	}
	a.runtime = r
	a.provisionedAt = time.Now()
	if err := a.registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	return a.subscribe(ctx)
}

// validate checks the values, and parses KeepHeaders and Static.
func (a *App) validate() error {
	if a.DockerHost != "" {
		if err := discovery.CheckDockerHost(a.DockerHost); err != nil {
			return err
		}
	}
	if a.Resolver != "" {
		if _, err := netip.ParseAddrPort(a.Resolver); err != nil {
			return fmt.Errorf("resolver %q: want ADDRESS:PORT, such as 127.0.0.11:53", a.Resolver)
		}
	}
	for name, d := range map[string]caddy.Duration{"refresh": a.Refresh, "hold": a.Hold, "terminating_timeout": a.TerminatingTimeout, "close_window": a.CloseWindow, "shutdown_delay": a.ShutdownDelay, "restart_unhealthy": a.RestartUnhealthy} {
		if d < 0 {
			return fmt.Errorf("%s can't be negative", name)
		}
	}
	if a.Refresh > 0 && time.Duration(a.Refresh) < 100*time.Millisecond {
		return fmt.Errorf("refresh %s: the shortest is 100ms", time.Duration(a.Refresh))
	}
	if a.Project != "" && len(a.Projects) > 0 {
		return errors.New("give project or projects, not both")
	}
	if len(a.Projects) > 1 && slices.Contains(a.Projects, discovery.AnyProject) {
		return errors.New("projects any: name no other project beside any")
	}
	if a.MaxHeld < 0 {
		return fmt.Errorf("max_held can't be negative")
	}
	for _, signal := range a.StopSignals {
		if err := discovery.CheckStopSignal(signal); err != nil {
			return err
		}
	}
	if n := len(a.AffinitySecret); n > 0 && n < affinity.MinSecretLength {
		return fmt.Errorf("affinity_secret has %d characters, want at least %d; leave it out to have one made", n, affinity.MinSecretLength)
	}
	a.keptHeaders = make(map[string]bool, len(a.KeepHeaders))
	for _, name := range a.KeepHeaders {
		a.keptHeaders[strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))] = true
	}
	a.static = make(discovery.Static, len(a.Static))
	for service, addrs := range a.Static {
		if _, err := registry.ParseName(service); err != nil {
			return fmt.Errorf("static: %w", err)
		}
		if len(addrs) == 0 {
			return fmt.Errorf("static %s: want at least one address", service)
		}
		for _, text := range addrs {
			addr, err := netip.ParseAddrPort(text)
			if err != nil || addr.Port() == 0 {
				return fmt.Errorf("static %s: %q: want ADDRESS:PORT, such as 127.0.0.1:3001", service, text)
			}
			if slices.Contains(a.static[service], addr) {
				return fmt.Errorf("static %s: %s is listed twice", service, text)
			}
			a.static[service] = append(a.static[service], addr)
		}
	}
	return nil
}

// validateTogether checks options that need each other. Their order does not matter.
func (a *App) validateTogether() error {
	switch {
	case a.Kubernetes && a.DockerHost != "":
		return errors.New("kubernetes: leave out docker_host: the edge asks the API server of Kubernetes instead")
	case a.Swarm && a.DockerHost == "":
		return errors.New("swarm needs docker_host: the guard on the Swarm's managers, such as tcp://docker-guard:2375")
	case a.Swarm && a.RestartUnhealthy > 0:
		return errors.New("restart_unhealthy: leave it out with swarm, which replaces unhealthy tasks itself")
	case a.RestartUnhealthy > 0 && a.DockerHost == "":
		return errors.New("restart_unhealthy needs docker_host: without the Docker Engine, the edge knows no health checks")
	}
	return nil
}

// sourceSettings returns the settings of the sources.
func (a *App) sourceSettings() sourceSettings {
	settings := sourceSettings{static: a.static, dns: dnsSettings{resolver: a.Resolver, refresh: time.Duration(a.Refresh)}}
	switch {
	case a.Kubernetes:
		settings.kubernetes = &kubernetesSettings{a.servedProjects()}
		settings.dns.isOff = a.Resolver == "" // the DNS of Kubernetes keeps answers for 30 s
	case a.Swarm:
		settings.swarm = swarmSettings{a.DockerHost, a.servedProjects(), a.Networks}
		settings.dns.prefix = "tasks."
	default:
		settings.engine = engineSettings{a.DockerHost, a.servedProjects(), a.Networks, a.StopSignals, time.Duration(a.TerminatingTimeout)}
	}
	return settings
}

// servedProjects returns the projects of either option.
func (a *App) servedProjects() []string {
	if a.Project != "" {
		return []string{a.Project}
	}
	return a.Projects
}

// Start activates the first configuration. In a reload, the active configuration stays active until Caddy has started all of the new
// one, so that a failed reload changes nothing. Only the first configuration has to pass the start check.
func (a *App) Start() error {
	if a.runtime.isFirstStart() {
		if err := a.startCheck(); err != nil {
			return err
		}
	}
	if a.affinityKeyRequested.Load() {
		a.AffinityKey() // now, so that no client waits for the storage
	}
	a.runtime.maintenance.Load(a.storage) // likewise
	if err := a.runtime.deployments.load(a.storage); err != nil {
		a.log.Warn("the last deployments are not known", zap.Error(err))
	}
	if active := a.runtime.addStartedApp(a); active != nil {
		return a.configureServices(active)
	}
	return a.activate()
}

// KeepsHeader reports whether the operator lets a spoofable header pass. Its name is in lower case without separators.
func (a *App) KeepsHeader(name string) bool { return a.keptHeaders[name] }

// CountSpoofedHeader counts a header that was dropped, by its kind: one of spoofedKinds.
func (a *App) CountSpoofedHeader(kind string) { a.runtime.spoofedHeaders.add(kind) }

// Sessions returns the socket.io sessions whose handshakes the edge has seen, and the adopted sessions. There is less room for the
// latter, because clients can make them up. Both outlive configurations.
func (a *App) Sessions() (sessions, adopted *engineio.Table) {
	return a.runtime.sessions, a.runtime.adoptedSessions
}

// WaitForSync waits, after the start of the edge, until all sources have reported, for three seconds at most.
func (a *App) WaitForSync(ctx context.Context) { a.runtime.registry.WaitForSync(ctx) }

// PreloadAffinityKey makes Start load the affinity key. Call it while provisioning.
func (a *App) PreloadAffinityKey() { a.affinityKeyRequested.Store(true) }

// AffinityKey returns the key that affinity cookies are signed with: made of affinity_secret, or else kept in Caddy's storage. If the
// storage fails, AffinityKey logs the error, and the key lasts as long as the process.
func (a *App) AffinityKey() []byte {
	a.affinityKeyOnce.Do(func() {
		if a.AffinitySecret != "" {
			a.affinityKey = affinity.KeyFromSecret(a.AffinitySecret)
			return
		}
		a.affinityKey = a.runtime.affinityKeys.Key(a.storage, a.log)
	})
	return a.affinityKey
}

// Stop does nothing, because the next configuration uses the runtime after a reload. Cleanup releases it.
func (*App) Stop() error { return nil }

// Cleanup releases the services and the runtime, which ends with the last configuration that releases it.
func (a *App) Cleanup() error {
	if a.runtime == nil {
		return nil
	}
	var err error
	if fallback := a.runtime.removeStartedApp(a); fallback != nil {
		err = fallback.activate()
	}
	a.mu.Lock()
	for _, u := range a.services {
		u.service.Drop()
	}
	a.services = nil
	a.mu.Unlock()
	a.runtime.forgetTraffic()
	return errors.Join(err, a.runtime.release())
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
