package main

import (
	"context"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/harness"
	"github.com/theworklabs/edge/tests/reliability/lab"
)

var guardKilled = scenario{
	name:     "guard killed",
	what:     "The guard is killed, the only replica is recreated, and the guard is started again.",
	edgeOnly: true,
	change: func(ctx context.Context, s *testbed) error {
		if _, err := s.project.Compose(ctx, "kill", "docker-guard"); err != nil {
			return err
		}
		if _, err := s.recreate(ctx); err != nil {
			return err
		}
		_, err := s.project.Compose(ctx, "start", "docker-guard")
		return err
	},
}

var eventStreamCut = scenario{
	name:     "event stream cut",
	what:     "The guard is disconnected from its network, so that the event stream stalls without an error, and the only replica is recreated.",
	edgeOnly: true,
	change: func(ctx context.Context, s *testbed) error {
		guard, err := s.project.Container(ctx, "docker-guard")
		if err != nil {
			return err
		}
		network := s.project.Name + "_guard"
		if _, err := harness.RunDocker(ctx, "network", "disconnect", network, guard); err != nil {
			return err
		}
		if _, err := s.recreate(ctx); err != nil {
			return err
		}
		_, err = harness.RunDocker(ctx, "network", "connect", "--alias", "docker-guard", network, guard)
		return err
	},
}

// dnsInterval is how often the proxies resolve names.
const dnsInterval = time.Second

// lyingDNS has a DNS server that gives wrong answers. Containers do not change.
var lyingDNS = scenario{
	name:            "dns",
	what:            "For the name of the service, the DNS server does not answer, answers without an address, fails, sends garbage, or answers with a foreign address. Its answers for the control are right.",
	restartsProxies: true,
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		gateway, err := s.project.Gateway(ctx, "lab")
		if err != nil {
			return nil, err
		}
		resolver, err := lab.OpenResolver(gateway, func(ctx context.Context, name string) ([]string, error) {
			return s.project.Addresses(ctx, name, "lab")
		})
		if err != nil {
			return nil, err
		}
		defer resolver.Close()
		if err := s.enterState(ctx, map[string]string{"LAB_DOCKER_HOST": "", "LAB_RESOLVER": resolver.Address()}, 1); err != nil {
			return nil, err
		}
		proxies = slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.service == "" }) // a target uses another DNS server
		var all []Result
		for _, lie := range []struct {
			name string
			lie  lab.Lie
		}{
			{"dns: silence", lab.Silence},
			{"dns: no address", lab.Empty},
			{"dns: failure", lab.Failure},
			{"dns: garbage", lab.Garbage},
			{"dns: a foreign address", lab.Foreign},
			{"dns: a foreign address too", lab.Mixed},
		} {
			results, err := s.observe(ctx, lie.name, proxies, func(ctx context.Context) error {
				resolver.SetLie("api", lie.lie)
				defer resolver.SetLie("api", lab.Truth)
				return sleep(ctx, max(s.effort.Window, 2*dnsInterval))
			})
			if err != nil {
				return nil, err
			}
			all = append(all, results...)
			if err := s.waitRouted(ctx, 1); err != nil {
				return nil, err
			}
		}
		return all, nil
	},
}
