package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// rolloutScenario returns the scenario in which a new version replaces the old one.
func rolloutScenario(t termination) scenario {
	name := "rollout (" + t.name + ")"
	withSockets := t.name == immediateExit.name // with sockets, the drain takes seconds before each stop
	return scenario{
		name:    name,
		what:    "A new version of the backend replaces the old one: with the edge by `edge rollout api`; with other proxies, a new replica is started and then the old one is stopped. " + t.what,
		promise: promise{anyMethod: true},
		env:     t.env(),
		run: func(ctx context.Context, s *testbed, proxies []proxy) ([]Result, error) {
			var peers []proxy
			var results []Result
			observe := func(proxies []proxy, rollout func(context.Context, *testbed) error) error {
				change := t.checkStopTime(repeatRollout(rollout))
				n := 0
				if withSockets {
					n = s.effort.Sockets
				}
				more, err := s.observeWith(ctx, n, name, proxies, func(ctx context.Context) error { return change(ctx, s) })
				results = append(results, more...)
				return err
			}
			for _, p := range proxies {
				if !p.isEdge() {
					peers = append(peers, p)
				} else if err := observe([]proxy{p}, edgeRollout); err != nil {
					return nil, err
				}
			}
			if len(peers) == 0 {
				return results, nil
			}
			if err := s.waitRouted(ctx, 1); err != nil {
				return nil, err
			}
			err := observe(peers, manualRollout)
			return results, err
		},
	}
}

// repeatRollout returns a change that does effort.Times rollouts, each with a new version.
func repeatRollout(rollout func(context.Context, *testbed) error) func(context.Context, *testbed) error {
	return func(ctx context.Context, s *testbed) error {
		for range s.effort.Times {
			s.version++
			s.project.Setenv("LAB_VERSION", strconv.Itoa(s.version+1))
			if err := rollout(ctx, s); err != nil {
				return err
			}
			if err := sleep(ctx, s.effort.Lead); err != nil {
				return err
			}
		}
		return nil
	}
}

// edgeRollout runs `edge rollout`.
func edgeRollout(ctx context.Context, s *testbed) error {
	edge, err := s.edgeProgram(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"rollout"}, s.project.FileArgs()...)
	cmd := exec.CommandContext(ctx, edge, append(args, "--sessions", s.effort.Sessions.String(), "api")...)
	cmd.Env = s.project.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("edge rollout: %w\n%s", err, out)
	}
	return nil
}

// manualRollout does what rollout tools for other proxies do: it starts a new replica, waits until it answers and until the proxies
// have had the time to find it, and stops and removes the old one.
func manualRollout(ctx context.Context, s *testbed) error {
	old, err := s.project.Container(ctx, "api")
	if err != nil {
		return err
	}
	if err := s.scale(ctx, 2); err != nil {
		return err
	}
	// The proxies resolve names every second; HAProxy's health check takes more time.
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	if _, err := harness.RunDocker(ctx, "stop", old); err != nil {
		return err
	}
	_, err = harness.RunDocker(ctx, "rm", old)
	return err
}
