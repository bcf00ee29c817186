package edge

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/theworklabs/edge/internal/affinity"
	"github.com/theworklabs/edge/internal/drains"
	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/gcpace"
	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/recovery"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/timeline"
	"github.com/theworklabs/edge/internal/traffic"
	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/internal/upstreamconn"
	"github.com/theworklabs/edge/modules/certificates"
)

// pool holds the one [runtime]. Everything that must outlive a reload is there, and never in a module.
var pool = caddy.NewUsagePool()

const poolKey = "edge"

// adoptedSessionLimit is how many sessions are remembered whose handshake the edge has not seen.
const adoptedSessionLimit = 10_000

// runtime holds what configurations share across reloads. Each part owns its state, its lock and its goroutines.
type runtime struct {
	registry        *registry.Registry
	sources         *sourceRunner
	restarter       restarter
	sessions        *engineio.Table
	adoptedSessions *engineio.Table
	traffic         *traffic.Recorder
	tunnels         *tunnel.Group // all upgraded connections of the process
	affinityKeys    affinity.KeyStore
	maintenance     *maintenance.Follower
	drains          *drains.Follower
	deployments     *deployments
	recovery        recovery.Store
	backups         *recovery.Watch
	certificates    *certificates.Monitor
	logs            activeLogs
	accessLog       *zap.Logger // http.log.access, made of logs
	spoofedHeaders  counters
	generation      atomic.Int64 // how many configurations have been activated
	timeline        timeline.Timeline
	newEndpoints    newEndpoints
	discoveryLag    prometheus.Histogram // from an event of the Docker Engine until it has taken effect
	exhaustion      exhaustionMonitor

	mu          sync.Mutex
	startedApps []*App // the configurations that have started, the newest last
	active      *App   // the one of them that is in force
}

// acquireRuntime returns the runtime, and makes it if no configuration holds it. Until a configuration is active, the runtime writes
// to the given loggers. The caller must call release.
func acquireRuntime(log, httpLog *zap.Logger) (*runtime, error) {
	value, _, err := pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) { return newRuntime(log, httpLog), nil })
	if err != nil {
		return nil, err
	}
	return value.(*runtime), nil
}

func newRuntime(log, httpLog *zap.Logger) *runtime {
	gcpace.Start()
	r := &runtime{
		sessions:        engineio.NewTable(engineio.DefaultLimit),
		adoptedSessions: engineio.NewTable(adoptedSessionLimit),
		traffic:         traffic.NewRecorder(),
		tunnels:         tunnel.NewGroup(nil),
		certificates:    certificates.NewMonitor(),
		discoveryLag:    newDiscoveryLag(),
		deployments:     newDeployments(),
	}
	r.logs.set(log, httpLog)
	r.accessLog = r.logs.access()
	r.registry = registry.New(registry.Options{OpenConns: upstreamconn.Opener(r.tunnels), OnChange: r.reportEndpointChange})
	r.sources = newSourceRunner(r.registry, r.noted(r.logs.named("discovery")), func(d time.Duration) { r.discoveryLag.Observe(d.Seconds()) })
	r.restarter.runtime = r
	r.maintenance = maintenance.NewFollower(r.activeStorage, r.noted(r.logs.edgeLogger()), func(service string) {
		r.registry.CloseSockets(service, MaintenanceCloseReason)
	})
	r.drains = drains.NewFollower(r.activeStorage, r.registry, r.logs.edgeLogger(), func(endpoints []registry.DrainStatus, isUndo bool) {
		r.noteDrain(endpoints, isUndo, "another edge")
	})
	r.backups = recovery.NewWatch(&r.recovery, r.activeStorage, r.reportBackupProblem)
	return r
}

// noted returns the logger with the timeline as a second reader of what it writes.
func (r *runtime) noted(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return noteCore{c, &r.timeline} }))
}

// sharedRuntime returns the runtime, or nil if no configuration uses the app.
func sharedRuntime() (r *runtime) {
	pool.Range(func(_, value any) bool {
		r = value.(*runtime)
		return false
	})
	return r
}

func (r *runtime) release() error {
	_, err := pool.Delete(poolKey)
	return err
}

// Destruct stops the goroutines of the runtime. Caddy calls it when the last configuration has released the runtime.
func (r *runtime) Destruct() error {
	r.restarter.close()
	r.maintenance.Stop()
	r.drains.Stop()
	r.backups.Stop()
	r.sources.stop()
	r.registry.Close()
	return nil
}

// isFirstStart reports whether no configuration has started yet.
func (r *runtime) isFirstStart() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.startedApps) == 0
}

// addStartedApp adds a configuration that has started, and returns the active one, or nil.
func (r *runtime) addStartedApp(a *App) (active *App) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.startedApps = append(r.startedApps, a)
	return r.active
}

// removeStartedApp removes a configuration. If it is the active one, removeStartedApp returns the configuration to activate instead;
// otherwise, or if there is none, it returns nil.
func (r *runtime) removeStartedApp(a *App) (fallback *App) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.startedApps = slices.DeleteFunc(r.startedApps, func(other *App) bool { return other == a })
	if r.active != a {
		return nil
	}
	r.active = nil
	if last := len(r.startedApps) - 1; last >= 0 {
		fallback = r.startedApps[last]
	}
	return fallback
}

// forgetTraffic forgets the figures of services that the registry no longer has.
func (r *runtime) forgetTraffic() { r.traffic.Retain(r.registry.Has) }

// setActive makes a configuration the active one, and reports whether it was not before.
func (r *runtime) setActive(a *App) (isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	isNew = r.active != a
	r.active = a
	return isNew
}

// activeApp returns the active configuration, or nil between two configurations.
func (r *runtime) activeApp() *App {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active
}

// activeStorage returns the storage of the active configuration, or nil.
func (r *runtime) activeStorage() certmagic.Storage {
	if a := r.activeApp(); a != nil {
		return a.storage
	}
	return nil
}

var _ caddy.Destructor = (*runtime)(nil)
