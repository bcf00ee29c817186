package main

import (
	"context"
	"slices"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
)

var guardKilled = scenario{
	name:     "guard killed",
	what:     "The guard is killed, the only replica recreated while it is gone, and the guard started again.",
	edgeOnly: true,
	change: func(ctx context.Context, s *stage) error {
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

var streamCut = scenario{
	name:     "event stream cut",
	what:     "The guard's network goes, so that the event stream falls silent without an end, and the only replica is recreated.",
	edgeOnly: true,
	change: func(ctx context.Context, s *stage) error {
		guard, err := s.project.Container(ctx, "docker-guard")
		if err != nil {
			return err
		}
		network := s.project.Name + "_guard"
		if _, err := lab.Docker(ctx, "network", "disconnect", network, guard); err != nil {
			return err
		}
		if _, err := s.recreate(ctx); err != nil {
			return err
		}
		_, err = lab.Docker(ctx, "network", "connect", "--alias", "docker-guard", network, guard)
		return err
	},
}

// refresh is how often the proxies ask the DNS.
const refresh = time.Second

// liar is DNS that doesn't tell the truth. Containers stay as they are.
var liar = scenario{
	name:     "dns",
	what:     "The resolver says nothing, says that there is no address, fails, sends garbage, or names a foreign address, when it is asked for the service. The control is told of truly.",
	restarts: true,
	run: func(ctx context.Context, s *stage, proxies []proxy) ([]Result, error) {
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
		if err := s.set(ctx, map[string]string{"LAB_ENDPOINT": "", "LAB_RESOLVER": resolver.Address()}, 1); err != nil {
			return nil, err
		}
		proxies = slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.service == "" }) // they ask another
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
				resolver.Tell("api", lie.lie)
				defer resolver.Tell("api", lab.Truth)
				return pass(ctx, max(s.effort.Window, 2*refresh))
			})
			if err != nil {
				return nil, err
			}
			all = append(all, results...)
			if err := s.settled(ctx, 1); err != nil {
				return nil, err
			}
		}
		return all, nil
	},
}
