package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

var proxyRecreated = scenario{
	name:            "the proxy recreated",
	what:            "`docker compose up` recreates the proxy itself: for a moment, nothing listens on the port. The edge promises nothing.",
	promise:         promise{none: true},
	restartsProxies: true,
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		own := slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.service == "" })
		results, err := s.observe(ctx, "the proxy recreated", own, func(ctx context.Context) error {
			return forEachProxy(own, func(p proxy) error {
				_, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--force-recreate", p.service)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		return results, s.waitRouted(ctx, 1)
	},
}

// edgeOnSharedPort has two edges on one port. Both run in the network namespace of a container that owns the port and only sleeps.
var edgeOnSharedPort = scenario{
	name:     "another edge takes over",
	what:     "A second edge is started on the same port in the same network namespace as the first, and the first is stopped.",
	edgeOnly: true,
	run: func(ctx context.Context, s *testbed, _ []proxy) ([]Result, error) {
		up := func(services ...string) error {
			_, err := s.project.Compose(ctx, append([]string{"--profile", "shared-port", "up", "--detach", "--no-deps"}, services...)...)
			return err
		}
		if err := up("port-owner", "edge-a"); err != nil {
			return nil, err
		}
		defer func() {
			_, _ = s.project.Compose(ctx, "--profile", "shared-port", "rm", "--stop", "--force", "edge-a", "edge-b", "port-owner") // the end of the run removes them in any case
		}()
		shared := proxy{name: "edge", service: "port-owner", address: net.JoinHostPort("127.0.0.1", s.sharedPort)}
		err := harness.EventuallyContext(ctx, 30*time.Second, "the first edge on the shared port serves", func() bool { return shared.routesTo(ctx, controlHost, 1) })
		if err != nil {
			return nil, err
		}
		results, err := s.observe(ctx, "another edge takes over", []proxy{shared}, func(ctx context.Context) error {
			if err := up("edge-b"); err != nil {
				return err
			}
			if err := s.waitEdgeReady(ctx, "edge-b"); err != nil {
				return err
			}
			_, err := s.project.Compose(ctx, "--profile", "shared-port", "stop", "edge-a")
			return err
		})
		return results, err
	},
}

// waitEdgeReady waits until an edge on the shared port has a ready endpoint of both services. It uses the edge's own admin socket,
// because either edge can answer on the shared port.
func (s *testbed) waitEdgeReady(ctx context.Context, service string) error {
	return harness.EventuallyContext(ctx, 30*time.Second, service+" is ready", func() bool {
		out, err := s.project.Compose(ctx, "--profile", "shared-port", "exec", "-T", service, "edge", "status", "--json")
		return err == nil && strings.Count(out, `"ready":1`) == 2
	})
}
