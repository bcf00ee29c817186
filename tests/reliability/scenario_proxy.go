package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// proxyRecreated and proxyKilled replace every proxy of the lab.
var (
	proxyRecreated = proxyScenario("the proxy recreated",
		"`docker compose up` recreates the proxy itself. The edge has a gate, in whose sockets connections wait meanwhile; while another proxy is away, nothing listens on its port.",
		promise{},
		func(ctx context.Context, s *testbed, p proxy) error {
			_, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--force-recreate", p.service)
			return err
		})
	// What is under way at that instant is lost with any proxy. What comes later need not be.
	proxyKilled = proxyScenario("the proxy killed",
		"The proxy is killed (SIGKILL), as if it were out of memory, and is started again a second later. Requests under way break off; with its gate, the edge refuses none.",
		promise{refusals: true},
		func(ctx context.Context, s *testbed, p proxy) error {
			id, err := s.project.Container(ctx, p.service)
			if err != nil {
				return err
			}
			if _, err := harness.RunDocker(ctx, "kill", id); err != nil {
				return err
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			_, err = harness.RunDocker(ctx, "start", id)
			return err
		})
)

// proxyScenario returns a scenario in which change replaces all proxies at once.
func proxyScenario(name, what string, promise promise, change func(context.Context, *testbed, proxy) error) scenario {
	return scenario{
		name: name, what: what, promise: promise, restartsProxies: true,
		run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
			own := slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return p.service == "" })
			results, err := s.observe(ctx, name, own, func(ctx context.Context) error {
				return forEachProxy(own, func(p proxy) error { return change(ctx, s, p) })
			})
			if err != nil {
				return nil, err
			}
			return results, s.waitRouted(ctx, 1)
		},
	}
}

// edgeRolledOut replaces the edge by `edge rollout edge`, several times.
var edgeRolledOut = scenario{
	name:            "the edge rolled out",
	what:            "`edge rollout edge` replaces the edge: a second one takes over the sockets of the gate, and the first one lets its clients go.",
	edgeOnly:        true,
	restartsProxies: true,
	promise:         promise{anyMethod: true},
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		edges := slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return !p.isEdge() })
		if len(edges) == 0 {
			return nil, nil
		}
		// Two edges can't publish one port for the admin API.
		s.project.Setenv("LAB_EDGE_ADMIN", "0")
		defer edges[0].setPorts(s.project)
		if err := s.recreateEdge(ctx); err != nil {
			return nil, err
		}
		results, err := s.observe(ctx, "the edge rolled out", edges, func(ctx context.Context) error {
			for i := range s.effort.Edges {
				s.project.Setenv("LAB_PROXY_VERSION", strconv.Itoa(i+2))
				if err := rollOutEdge(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		edges[0].setPorts(s.project)
		return results, s.recreateEdge(ctx)
	},
}

// nextImage is edge:dev with one more label, and so another image.
const nextImage = "edge-test/edge-next:test"

// edgeUpdated starts the edge and the guard from another image.
var edgeUpdated = scenario{
	name:            "the edge updated",
	what:            "`docker compose up` after a change of EDGE_IMAGE: it recreates the edge and docker-guard, and not the gate.",
	edgeOnly:        true,
	restartsProxies: true,
	run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
		edges := slices.DeleteFunc(slices.Clone(proxies), func(p proxy) bool { return !p.isEdge() })
		build := exec.CommandContext(ctx, "docker", "build", "--quiet", "--tag", nextImage, "-")
		build.Stdin, build.Env = strings.NewReader("FROM edge:dev\nLABEL next=1\n"), append(os.Environ(), "DOCKER_BUILDKIT=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", nextImage, err, out)
		}
		gate, err := s.project.Container(ctx, "gate")
		if err != nil {
			return nil, err
		}
		results, err := s.observe(ctx, "the edge updated", edges, func(ctx context.Context) error {
			s.project.Setenv("LAB_EDGE_IMAGE", nextImage)
			if _, err := s.project.Compose(ctx, "up", "--detach", "edge", "docker-guard", "gate"); err != nil {
				return err
			}
			return s.waitRouted(ctx, 1)
		})
		if err != nil {
			return nil, err
		}
		if after, err := s.project.Container(ctx, "gate"); err != nil || after != gate {
			return nil, fmt.Errorf("the gate was replaced (%w)", err)
		}
		s.project.Setenv("LAB_EDGE_IMAGE", "edge:dev")
		return results, s.recreateEdge(ctx)
	},
}

// recreateEdge has Compose start the edge with the variables of now.
func (s *testbed) recreateEdge(ctx context.Context) error {
	if _, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "edge"); err != nil {
		return err
	}
	return s.waitRouted(ctx, 1)
}

// rollOutEdge runs `edge rollout edge`.
func rollOutEdge(ctx context.Context, s *testbed) error {
	program, err := s.edgeProgram(ctx)
	if err != nil {
		return err
	}
	args := slices.Concat([]string{"rollout"}, s.project.FileArgs(), []string{"--drain-timeout", s.effort.Leave.String(), "edge"})
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.project.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("edge rollout edge: %w\n%s", err, out)
	}
	return nil
}
