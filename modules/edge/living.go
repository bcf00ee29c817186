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
	"github.com/theworklabs/edge/internal/link"
	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/tunnel"
)

// pool holds the one [living]: what must outlive a reload lives here, never in a module.
var pool = caddy.NewUsagePool()

const poolKey = "edge"

// living is what the configurations share, one after the other: the registry and the sources that feed it.
type living struct {
	registry *registry.Registry
	sessions *engineio.Table
	strays   *engineio.Table
	tunnels  *tunnel.Group // all of the process
	log      atomic.Pointer[zap.Logger]

	httpLog   atomic.Pointer[zap.Logger]
	accessLog *zap.Logger // writes to httpLog

	spoofed   counters
	exhausted exhaustion

	mu      sync.Mutex
	sources map[registry.Source]*running
	users   []*App // the configurations that have started, the newest last
	inForce *App   // the one of them whose settings hold

	certs   certs.Tracker
	certsMu sync.Mutex   // it is being written there
	loaded  atomic.Int64 // when the configuration that runs was provisioned, in Unix nanoseconds

	keyMu      sync.Mutex
	keptKey    []byte // of affinity cookies, as it is in the storage
	passingKey []byte // when none can be kept

	closures   maintenance.State
	closuresMu sync.Mutex // held while the storage is asked, so that what holds is what it said last
	forgetful  bool       // the storage can't be read, and the log says so
	followed   chan struct{}
	unfollow   context.CancelFunc
}

// running is a source at work.
type running struct {
	settings string // what it was started with; other settings need another one
	stop     context.CancelFunc
	done     chan struct{}
}

func takeLiving() (*living, error) {
	value, _, err := pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) {
		l := &living{sources: make(map[registry.Source]*running), sessions: engineio.NewTable(engineio.DefaultLimit), strays: engineio.NewTable(strayLimit), tunnels: tunnel.NewGroup(nil)}
		l.setLog(zap.NewNop(), zap.NewNop())
		l.accessLog = zap.New(current{log: &l.httpLog}).Named("http.log.access")
		l.registry = registry.New(registry.Options{OpenConns: link.Opener(l.tunnels), OnChange: l.logChange})
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*living), nil
}

func (l *living) release() error {
	_, err := pool.Delete(poolKey)
	return err
}

// Destruct ends the sources and the registry, when no configuration uses them any more.
func (l *living) Destruct() error {
	l.endFollowing() // which may want the lock
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.sources {
		r.end()
	}
	clear(l.sources)
	l.registry.Close()
	return nil
}

// run sees that the sources run as the app is configured: one that already does is left alone.
func (l *living) run(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inForce = a
	if l.unfollow == nil {
		l.follow()
	}
	want := make(map[registry.Source]discovery.Source)
	if len(a.static) > 0 {
		want[registry.Static] = a.static
	}
	log := l.logger("discovery")
	if a.Endpoint != "" {
		want[registry.Engine] = audited{discovery.Engine{
			DockerHost: a.Endpoint, Project: a.Project, Networks: a.Networks,
			StopSignals: a.StopSignals, TerminationTimeout: time.Duration(a.DrainTimeout), Names: l.registry, PingRequests: l.registry.PingRequests(), Log: log,
		}, log}
	}
	want[registry.DNS] = discovery.DNS{
		Names: l.registry, Resolver: a.Resolver, Refresh: time.Duration(a.Refresh), Log: log,
	}
	settings := map[registry.Source]string{
		registry.Static: fmt.Sprint(a.static),
		registry.Engine: fmt.Sprintf("%q %q %q %q %d", a.Endpoint, a.Project, a.Networks, a.StopSignals, a.DrainTimeout),
		registry.DNS:    fmt.Sprintf("%q %d", a.Resolver, a.Refresh),
	}
	for kind, r := range l.sources {
		if want[kind] == nil || r.settings != settings[kind] {
			r.end()
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
			l.sources[kind] = start(source, l.registry.Feed(kind), settings[kind])
		}
	}
}

func start(source discovery.Source, feed *registry.Feed, settings string) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{settings: settings, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		source.Run(ctx, feed)
	}()
	return r
}

func (r *running) end() {
	r.stop()
	<-r.done
}

func (l *living) setLog(log, http *zap.Logger) {
	l.log.Store(log)
	l.httpLog.Store(http)
}

// watchers are told of every step of every endpoint, beside the log.
var watchers sync.Map

// Watch has f told of every step of every endpoint until stop is called. f must not block.
func Watch(f func(registry.Change)) (stop func()) {
	key := new(int)
	watchers.Store(key, f)
	return func() { watchers.Delete(key) }
}

// logChange writes an endpoint's step to the log, as the operator wants to read it.
func (l *living) logChange(c registry.Change) {
	watchers.Range(func(_, f any) bool {
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

var _ caddy.Destructor = (*living)(nil)
