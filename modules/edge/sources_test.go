package edge

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// newTestSources returns a runner and its registry, which has the service api:80.
func newTestSources(t *testing.T) (*sourceRunner, *registry.Service) {
	t.Helper()
	r := registry.New(registry.Options{})
	t.Cleanup(r.Close)
	service, err := r.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	sources := newSourceRunner(r, zap.NewNop(), nil)
	t.Cleanup(sources.stop)
	return sources, service
}

// baseSettings returns new values that are equal in each call.
func baseSettings() sourceSettings {
	return sourceSettings{
		static: discovery.Static{"api:80": {netip.MustParseAddrPort("127.0.0.1:1")}},
		engine: engineSettings{dockerHost: "tcp://127.0.0.1:1", networks: []string{"front"}, terminatingTimeout: time.Minute},
		dns:    dnsSettings{resolver: "127.0.0.1:1"},
	}
}

func TestOnlySourcesWithNewSettingsAreRestarted(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*sourceSettings)
		restarted []registry.Source
		stopped   []registry.Source
	}{
		"nothing":                 {change: func(*sourceSettings) {}},
		"a static address":        {change: func(s *sourceSettings) { s.static["api:80"][0] = netip.MustParseAddrPort("127.0.0.1:2") }, restarted: []registry.Source{registry.Static}},
		"the Docker host":         {change: func(s *sourceSettings) { s.engine.dockerHost = "tcp://127.0.0.1:2" }, restarted: []registry.Source{registry.Engine}},
		"a network":               {change: func(s *sourceSettings) { s.engine.networks[0] = "back" }, restarted: []registry.Source{registry.Engine}},
		"the terminating timeout": {change: func(s *sourceSettings) { s.engine.terminatingTimeout = time.Second }, restarted: []registry.Source{registry.Engine}},
		"the resolver":            {change: func(s *sourceSettings) { s.dns.resolver = "127.0.0.1:2" }, restarted: []registry.Source{registry.DNS}},
		"no static list":          {change: func(s *sourceSettings) { s.static = nil }, stopped: []registry.Source{registry.Static}},
		"Kubernetes in place of the Docker Engine and DNS": {
			change: func(s *sourceSettings) {
				s.kubernetes, s.engine, s.dns = &kubernetesSettings{[]string{"p"}}, engineSettings{}, dnsSettings{isOff: true}
			},
			stopped: []registry.Source{registry.Engine, registry.DNS}, restarted: []registry.Source{registry.Kubernetes},
		},
		"a Swarm in place of the Docker Engine": {
			change: func(s *sourceSettings) {
				s.swarm, s.engine = swarmSettings{dockerHost: "tcp://127.0.0.1:1"}, engineSettings{}
			},
			stopped: []registry.Source{registry.Engine}, restarted: []registry.Source{registry.Swarm},
		},
		"no Docker host": {change: func(s *sourceSettings) { s.engine = engineSettings{} }, stopped: []registry.Source{registry.Engine}},
	} {
		t.Run(name, func(t *testing.T) {
			sources, _ := newTestSources(t)
			sources.reconcile(baseSettings())
			want := make(map[registry.Source]string)
			before := make(map[registry.Source]*runningSource)
			for kind, running := range sources.running {
				before[kind], want[kind] = running, "kept"
			}
			if len(want) != 3 {
				t.Fatalf("%d sources run, want 3", len(want))
			}
			for _, kind := range c.restarted {
				want[kind] = "restarted"
			}
			for _, kind := range c.stopped {
				delete(want, kind)
			}
			settings := baseSettings()
			c.change(&settings)
			sources.reconcile(settings)
			got := make(map[registry.Source]string)
			for kind, running := range sources.running {
				got[kind] = "restarted"
				if running == before[kind] {
					got[kind] = "kept"
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestEndpointsOfARemovedSourceAreRemoved(t *testing.T) {
	sources, service := newTestSources(t)
	sources.reconcile(baseSettings())
	for deadline := time.Now().Add(10 * time.Second); len(service.Status().Endpoints) != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("the static list has no effect: %+v", service.Status())
		}
	}
	settings := baseSettings()
	settings.static = nil
	sources.reconcile(settings)
	if got := service.Status().Endpoints; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

// On a host, Docker's DNS can't be reached: each start would wait for three seconds.
func TestTheStartDoesNotWaitForDockersDNSOnAHost(t *testing.T) {
	for _, c := range []struct {
		hasDockerResolver bool
		resolver          string
		waits             bool
	}{{false, "", false}, {true, "127.0.0.1:1", true}, {false, "127.0.0.1:1", true}} {
		sources, _ := newTestSources(t)
		sources.hasDockerResolver = c.hasDockerResolver
		settings := baseSettings()
		settings.engine, settings.dns.resolver = engineSettings{}, c.resolver
		sources.reconcile(settings)
		start := time.Now()
		sources.registry.WaitForSync(t.Context())
		if waited := time.Since(start); (waited >= 2*time.Second) != c.waits {
			t.Errorf("%+v: the start waits for %s", c, waited)
		}
	}
}

func TestStoppedRunnerHasNoSources(t *testing.T) {
	sources, _ := newTestSources(t)
	sources.reconcile(baseSettings())
	all := make([]*runningSource, 0, len(sources.running))
	for _, running := range sources.running {
		all = append(all, running)
	}
	sources.stop()
	for _, running := range all {
		select {
		case <-running.done:
		default:
			t.Error("a source still runs")
		}
	}
}
