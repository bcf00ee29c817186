package edge

import (
	"context"
	"reflect"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/kubernetes"
	"github.com/theworklabs/edge/internal/registry"
)

// sourceRunner runs the sources that feed a registry. A reload restarts only the sources whose settings it changes.
type sourceRunner struct {
	registry  *registry.Registry
	log       *zap.Logger
	onApplied func(time.Duration) // see [discovery.Engine]
	// hasDockerResolver says that Docker's DNS can be reached, so that it is asked where no other resolver is set.
	hasDockerResolver bool

	mu      sync.Mutex
	running map[registry.Source]*runningSource
}

// sourceSettings are the settings of all sources in one configuration.
type sourceSettings struct {
	static discovery.Static // none if it is empty
	engine engineSettings   // none if its dockerHost is empty
	swarm  swarmSettings    // none if its dockerHost is empty

	kubernetes *kubernetesSettings // nil: none
	dns        dnsSettings
}

type engineSettings struct {
	dockerHost         string
	projects           []string
	networks           []string
	stopSignals        []string
	terminatingTimeout time.Duration
}

type swarmSettings struct {
	dockerHost string
	projects   []string
	networks   []string
}

type kubernetesSettings struct{ namespaces []string }

type dnsSettings struct {
	isOff    bool // nothing is looked up
	resolver string
	refresh  time.Duration
	prefix   string
}

// sourceSpec is a source to run, with the settings that it comes from.
type sourceSpec struct {
	settings any
	source   discovery.Source
	// isOptional says that the start waits for no report of it.
	isOptional bool
}

// runningSource is a source and the goroutine that runs it.
type runningSource struct {
	settings any
	cancel   context.CancelFunc
	done     chan struct{}
}

func newSourceRunner(r *registry.Registry, log *zap.Logger, onApplied func(time.Duration)) *sourceRunner {
	return &sourceRunner{
		registry: r, log: log, onApplied: onApplied, running: make(map[registry.Source]*runningSource),
		hasDockerResolver: discovery.HasDockerResolver("/etc/resolv.conf"),
	}
}

// reconcile stops the sources that the settings do not have, starts those that are new, and restarts those whose settings differ.
// What a source has found stays until its successor knows better, or is removed with a source that has no successor.
func (r *sourceRunner) reconcile(settings sourceSettings) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := r.specs(settings)
	for kind, running := range r.running {
		spec, isWanted := wanted[kind]
		if isWanted && reflect.DeepEqual(running.settings, spec.settings) {
			continue
		}
		running.stopAndWait()
		delete(r.running, kind)
		switch feed := r.registry.Feed(kind); {
		case !isWanted:
			feed.Clear()
		case kind != registry.DNS: // a new DNS source looks up every name anyway
			feed.MarkStale()
		}
	}
	// All feeds expect a source before the first source reports: affinity cookies wait until all sources have reported.
	for kind, spec := range wanted {
		if r.running[kind] == nil && !spec.isOptional {
			r.registry.Feed(kind).Expect()
		}
	}
	for kind, spec := range wanted {
		if r.running[kind] == nil {
			r.running[kind] = startSource(spec, r.registry.Feed(kind))
		}
	}
}

// stop stops all sources and waits for their end.
func (r *sourceRunner) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, running := range r.running {
		running.stopAndWait()
	}
	clear(r.running)
}

// specs returns the sources that the settings ask for.
func (r *sourceRunner) specs(s sourceSettings) map[registry.Source]sourceSpec {
	specs := make(map[registry.Source]sourceSpec)
	if !s.dns.isOff {
		specs[registry.DNS] = sourceSpec{
			settings: s.dns, source: discovery.DNS{
				Names: r.registry, Resolver: s.dns.resolver, Refresh: s.dns.refresh, Prefix: s.dns.prefix, IsSpare: r.registry.IsOrchestrated, Log: r.log,
			},
			isOptional: s.dns.resolver == "" && !r.hasDockerResolver, // as on a host, where Docker's DNS is not to be reached
		}
	}
	if len(s.static) > 0 {
		specs[registry.Static] = sourceSpec{settings: s.static, source: s.static}
	}
	if s.engine.dockerHost != "" {
		specs[registry.Engine] = sourceSpec{settings: s.engine, source: auditedSource{discovery.Engine{
			DockerHost: s.engine.dockerHost, Projects: s.engine.projects, Networks: s.engine.networks,
			StopSignals: s.engine.stopSignals, TerminationTimeout: s.engine.terminatingTimeout,
			Names: r.registry, PingRequests: r.registry.PingRequests(), OnApplied: r.onApplied, Log: r.log,
		}, s.engine.dockerHost, r.log}}
	}
	if s.swarm.dockerHost != "" {
		specs[registry.Swarm] = sourceSpec{settings: s.swarm, source: auditedSource{discovery.Swarm{
			DockerHost: s.swarm.dockerHost, Projects: s.swarm.projects, Networks: s.swarm.networks,
			Names: r.registry, Requests: r.registry.PingRequests(), Log: r.log,
		}, s.swarm.dockerHost, r.log}}
	}
	if s.kubernetes != nil {
		specs[registry.Kubernetes] = sourceSpec{settings: *s.kubernetes, source: kubernetes.Source{
			Namespaces: s.kubernetes.namespaces, Names: r.registry, Log: r.log,
		}}
	}
	return specs
}

func startSource(spec sourceSpec, feed *registry.Feed) *runningSource {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningSource{settings: spec.settings, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		spec.source.Run(ctx, feed)
	}()
	return r
}

func (r *runningSource) stopAndWait() {
	r.cancel()
	<-r.done
}
