package edge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/certs"
	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/engineio"
	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
	"github.com/theworklabs/edge/internal/upstreamconn"
)

// pool holds the one [runtime]: what must outlive a reload lives here, never in a module.
var pool = caddy.NewUsagePool()

const poolKey = "edge"

// runtime is what the configurations share, one after the other: the registry and the sources that feed it.
type runtime struct {
	registry        *registry.Registry
	sessions        *engineio.Table
	adoptedSessions *engineio.Table
	tunnels         *tunnel.Group // all of the process
	log             atomic.Pointer[zap.Logger]

	httpLog   atomic.Pointer[zap.Logger]
	accessLog *zap.Logger // writes to httpLog

	spoofedHeaders counters
	exhaustion     exhaustionMonitor

	mu          sync.Mutex
	sources     map[registry.Source]*runningSource
	startedApps []*App // the configurations that have started, the newest last
	active      *App   // the one of them whose settings hold

	certTracker   certs.Tracker
	certStorageMu sync.Mutex   // it is being written there
	provisionedAt atomic.Int64 // when the configuration that runs was provisioned, in Unix nanoseconds

	affinityKeyMu        sync.Mutex
	storedAffinityKey    []byte // of affinity cookies, as it is in the storage
	temporaryAffinityKey []byte // when none can be kept

	maintenanceState     maintenance.State
	maintenanceMu        sync.Mutex // held while the storage is asked, so that what holds is what it said last
	storageFailureLogged bool       // the storage can't be read, and the log says so
	followerDone         chan struct{}
	stopFollower         context.CancelFunc
}

// runningSource is a source at work.
type runningSource struct {
	settings string // what it was started with; other settings need another one
	cancel   context.CancelFunc
	done     chan struct{}
}

func acquireRuntime() (*runtime, error) {
	value, _, err := pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) {
		l := &runtime{sources: make(map[registry.Source]*runningSource), sessions: engineio.NewTable(engineio.DefaultLimit), adoptedSessions: engineio.NewTable(adoptedSessionLimit), tunnels: tunnel.NewGroup(nil)}
		l.setLoggers(zap.NewNop(), zap.NewNop())
		l.accessLog = zap.New(dynamicCore{log: &l.httpLog}).Named("http.log.access")
		l.registry = registry.New(registry.Options{OpenConns: upstreamconn.Opener(l.tunnels), OnChange: l.logEndpointChange})
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*runtime), nil
}

func (l *runtime) release() error {
	_, err := pool.Delete(poolKey)
	return err
}

// Destruct ends the sources and the registry, when no configuration uses them any more.
func (l *runtime) Destruct() error {
	l.stopMaintenanceFollower() // which may want the lock
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.sources {
		r.stopAndWait()
	}
	clear(l.sources)
	l.registry.Close()
	return nil
}

// reconcileSources sees that the sources run as the app is configured: one that already does is left alone.
func (l *runtime) reconcileSources(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = a
	if l.stopFollower == nil {
		l.startMaintenanceFollower()
	}
	want := make(map[registry.Source]discovery.Source)
	if len(a.static) > 0 {
		want[registry.Static] = a.static
	}
	log := l.logger("discovery")
	if a.DockerHost != "" {
		want[registry.Engine] = auditedEngine{discovery.Engine{
			DockerHost: a.DockerHost, Project: a.Project, Networks: a.Networks,
			StopSignals: a.StopSignals, TerminationTimeout: time.Duration(a.TerminatingTimeout), Names: l.registry, PingRequests: l.registry.PingRequests(), Log: log,
		}, log}
	}
	want[registry.DNS] = discovery.DNS{
		Names: l.registry, Resolver: a.Resolver, Refresh: time.Duration(a.Refresh), Log: log,
	}
	settings := map[registry.Source]string{
		registry.Static: fmt.Sprint(a.static),
		registry.Engine: fmt.Sprintf("%q %q %q %q %d", a.DockerHost, a.Project, a.Networks, a.StopSignals, a.TerminatingTimeout),
		registry.DNS:    fmt.Sprintf("%q %d", a.Resolver, a.Refresh),
	}
	for kind, r := range l.sources {
		if want[kind] == nil || r.settings != settings[kind] {
			r.stopAndWait()
			delete(l.sources, kind)
			switch feed := l.registry.Feed(kind); {
			case want[kind] == nil:
				feed.Clear()
			case kind != registry.DNS: // which asks again for every name anyway
				feed.MarkStale() // what is known holds until the new one knows better
			}
		}
	}
	for kind := range want {
		if l.sources[kind] == nil {
			l.registry.Feed(kind).Expect() // all, before the first one can speak: cookies wait until all have
		}
	}
	for kind, source := range want {
		if l.sources[kind] == nil {
			l.sources[kind] = startSource(source, l.registry.Feed(kind), settings[kind])
		}
	}
}

func startSource(source discovery.Source, feed *registry.Feed, settings string) *runningSource {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningSource{settings: settings, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		source.Run(ctx, feed)
	}()
	return r
}

func (r *runningSource) stopAndWait() {
	r.cancel()
	<-r.done
}

func (l *runtime) setLoggers(log, http *zap.Logger) {
	l.log.Store(log)
	l.httpLog.Store(http)
}

// endpointWatchers are told of every step of every endpoint, beside the log.
var endpointWatchers sync.Map

// WatchEndpoints has f told of every step of every endpoint until stop is called. f must not block.
func WatchEndpoints(f func(registry.Change)) (stop func()) {
	key := new(int)
	endpointWatchers.Store(key, f)
	return func() { endpointWatchers.Delete(key) }
}

// logEndpointChange writes an endpoint's step to the log, as the operator wants to read it.
func (l *runtime) logEndpointChange(c registry.Change) {
	endpointWatchers.Range(func(_, f any) bool {
		f.(func(registry.Change))(c)
		return true
	})
	level := zap.InfoLevel
	if c.To == registry.Failing {
		level = zap.WarnLevel
	}
	if ce := l.log.Load().Check(level, "endpoint is "+string(c.To)); ce != nil {
		ce.Write(
			zap.String("service", c.Service), zap.String("endpoint", c.Name), zap.String("id", c.Endpoint),
			zap.String("address", c.Address), zap.String("from", string(c.From)), zap.String("reason", c.Reason),
		)
	}
}

var _ caddy.Destructor = (*runtime)(nil)
