// Package edge is the app `edge`: it owns the registry and the sources that feed it, and gives services to the
// modules that route to them.
package edge

import (
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

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App configures how the edge finds containers. An edge without it goes by DNS alone, with the defaults below.
//
// What it finds outlives configuration reloads. A Docker Engine that is down, slow, restarting or forbidding never
// stops a start, a reload, a validation or the serving of what is known.
type App struct {
	// Where the Docker Engine, or the socket proxy in front of it, listens: `unix:///var/run/docker.sock` or
	// `tcp://docker-guard:2375`. Default: none; the edge uses DNS alone.
	DockerHost string `json:"docker_host,omitempty"`

	// The old name of docker_host, accepted until version 1.0.
	//
	// Deprecated: use docker_host.
	Endpoint string `json:"endpoint,omitempty"`

	// The Compose project whose services are served. Default: the edge's own.
	Project string `json:"project,omitempty"`

	// The Docker networks whose addresses are used. Default: all that the edge is attached to.
	Networks []string `json:"networks,omitempty"`

	// Signals that tell a container to stop although they usually don't, such as `WINCH`; names or numbers.
	// HUP, USR1, USR2 and WINCH are taken for something else by default.
	StopSignals []string `json:"stop_signals,omitempty"`

	// How long a container that was told to stop may take to exit. If it still runs after that, it gets requests again.
	// Default: 60s.
	TerminatingTimeout caddy.Duration `json:"terminating_timeout,omitempty"`

	// The old name of terminating_timeout, accepted until version 1.0.
	//
	// Deprecated: use terminating_timeout.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// The DNS resolver. Default: Docker's own, `127.0.0.11:53`.
	Resolver string `json:"resolver,omitempty"`

	// How often names are asked for. Default: 1s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long a request waits for a ready endpoint of its service. It must exceed the time that a container takes
	// to stop and to boot. Default: 60s.
	Hold caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait for one service. Default: 1000.
	MaxHeld int `json:"max_held,omitempty"`

	// How many requests of one client may wait for one service; negative: any number. A trusted proxy's own requests are not
	// counted, and neither are those of the container's gateway, behind which Docker may hide every client. Default: a
	// tenth of `max_held`, but at least 10.
	MaxHeldPerClient int `json:"max_held_per_client,omitempty"`

	// Request headers that reach the application although a client could claim by them to be someone else, such as
	// `X-Original-URL`. Case and separators make no difference. Default: none.
	KeepHeaders []string `json:"keep_headers,omitempty"`

	// The time over which WebSockets are closed: those of a container that is to stop, and all when the edge stops. It must
	// be shorter than the containers' stop timeout. Default: 5s.
	CloseWindow caddy.Duration `json:"close_window,omitempty"`

	// Services with fixed addresses, by the name that routes use: {"bigcapital-server:3000": ["127.0.0.1:3001"]}.
	// No source is asked about these.
	Static map[string][]string `json:"static,omitempty"`

	// What affinity cookies are signed with, at least 16 characters; several edges in front of the same containers need the
	// same. Default: one is made, and kept in Caddy's storage.
	AffinitySecret string `json:"affinity_secret,omitempty"`

	static               discovery.Static
	keptHeaders          map[string]bool // KeepHeaders in lower case without separators
	storage              certmagic.Storage
	startCheck           func() error // whether it may start
	affinityKeyRequested atomic.Bool
	affinityKeyOnce      sync.Once
	affinityKey          []byte
	runtime              *runtime
	// Before anything is heard of its certificates.
	provisionedAt time.Time
	log           *zap.Logger
	httpLog       *zap.Logger

	mu       sync.Mutex
	services map[string]*serviceRef
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edge", New: func() caddy.Module { return new(App) }}
}

// Provision checks the configuration and takes a reference to what outlives it. It touches neither Docker nor DNS:
// validation provisions too.
func (a *App) Provision(ctx caddy.Context) error {
	a.log, a.httpLog = ctx.Logger(), ctx.Logger(httpApp{})
	a.storage = ctx.Storage()
	a.startCheck = func() error { return a.checkStart(ctx) }
	a.services = make(map[string]*serviceRef)
	if err := a.acceptOldNames(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	l, err := acquireRuntime()
	if err != nil {
		return err
	}
	a.runtime = l
	a.provisionedAt = time.Now()
	if err := a.registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	return a.subscribe(ctx)
}

// check validates the values and parses the static list.
func (a *App) check() error {
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
	for name, d := range map[string]caddy.Duration{"refresh": a.Refresh, "hold": a.Hold, "terminating_timeout": a.TerminatingTimeout, "close_window": a.CloseWindow} {
		if d < 0 {
			return fmt.Errorf("%s can't be negative", name)
		}
	}
	if a.Refresh > 0 && time.Duration(a.Refresh) < 100*time.Millisecond {
		return fmt.Errorf("refresh %s: the shortest is 100ms", time.Duration(a.Refresh))
	}
	if a.MaxHeld < 0 {
		return fmt.Errorf("max_held can't be negative")
	}
	for _, signal := range a.StopSignals {
		if err := discovery.CheckStopSignal(signal); err != nil {
			return err
		}
	}
	if err := a.checkSecret(); err != nil {
		return err
	}
	a.keptHeaders = make(map[string]bool, len(a.KeepHeaders))
	for _, name := range a.KeepHeaders {
		a.keptHeaders[strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))] = true
	}
	a.static = make(discovery.Static, len(a.Static))
	for service, addrs := range a.Static {
		if _, _, err := registry.ParseName(service); err != nil {
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

// Start puts the configuration in force. In a reload, that waits until Caddy has started all of it: one that fails leaves
// what runs as it is. Only the first one has to pass the checks of what would be worse than not to start.
func (a *App) Start() error {
	if a.runtime.isFirstStart() {
		if err := a.startCheck(); err != nil {
			return err
		}
	}
	if a.affinityKeyRequested.Load() {
		a.AffinityKey() // not while a client waits
	}
	a.runtime.restoreMaintenance(a) // likewise
	if inForce := a.runtime.addStartedApp(a); inForce != nil {
		return a.configureServices(inForce)
	}
	return a.activate()
}

// KeepsHeader reports whether an operator lets a header pass that a client could claim to be someone else by; its name is in
// lower case without separators.
func (a *App) KeepsHeader(name string) bool { return a.keptHeaders[name] }

// CountSpoofedHeader counts a header that was dropped, by what it claimed.
func (a *App) CountSpoofedHeader(kind string) { a.runtime.spoofedHeaders.add(kind) }

// Stop leaves everything running: after a reload, the next configuration uses it.
func (*App) Stop() error { return nil }

// Cleanup gives back the services and what outlives the configuration; the last one to do so ends it.
func (a *App) Cleanup() error {
	if a.runtime == nil {
		return nil
	}
	var err error
	if heir := a.runtime.removeStartedApp(a); heir != nil {
		err = heir.activate()
	}
	a.mu.Lock()
	for _, u := range a.services {
		u.service.Drop()
	}
	a.services = nil
	a.mu.Unlock()
	return errors.Join(err, a.runtime.release())
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
