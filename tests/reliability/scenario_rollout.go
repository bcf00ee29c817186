package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
)

var rollout = scenario{
	name:    "rollout",
	what:    "A new version of a rude backend: by `edge rollout api`, or beside the old one and then in its place, by hand.",
	promise: promise{anyMethod: true},
	run: func(ctx context.Context, s *stage, proxies []proxy) ([]Result, error) {
		var peers []proxy
		var results []Result
		for _, p := range proxies {
			if !p.isEdge() {
				peers = append(peers, p)
				continue
			}
			mine, err := s.observe(ctx, "rollout", []proxy{p}, s.repeated(s.edgeRollout))
			if err != nil {
				return nil, err
			}
			results = append(results, mine...)
		}
		if len(peers) == 0 {
			return results, nil
		}
		if err := s.settled(ctx, 1); err != nil {
			return nil, err
		}
		theirs, err := s.observe(ctx, "rollout", peers, s.repeated(s.handRollout))
		return append(results, theirs...), err
	},
}

// repeated does something as often as the effort says, with a version of its own each time.
func (s *stage) repeated(what func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for range s.effort.Times {
			s.version++
			s.project.Set("LAB_VERSION", strconv.Itoa(s.version+1))
			if err := what(ctx); err != nil {
				return err
			}
			if err := pass(ctx, lead); err != nil {
				return err
			}
		}
		return nil
	}
}

// edgeRollout runs the edge's own command.
func (s *stage) edgeRollout(ctx context.Context) error {
	edge, err := s.edgeProgram(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, edge, "rollout", "--project-name", s.project.Name, "--file", s.project.File,
		"--sessions", s.effort.Sessions.String(), "api")
	cmd.Env = s.project.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("edge rollout: %w\n%s", err, out)
	}
	return nil
}

// handRollout is what tools for peers do: a new replica is started beside the old one, and when it answers and the
// proxies have had the time to find it, the old one is stopped and removed.
func (s *stage) handRollout(ctx context.Context) error {
	old, err := s.project.Container(ctx, "api")
	if err != nil {
		return err
	}
	if err := s.scale(ctx, 2); err != nil {
		return err
	}
	// They ask the DNS every second, and HAProxy's check comes on top.
	if err := pass(ctx, 3*time.Second); err != nil {
		return err
	}
	if _, err := lab.Docker(ctx, "stop", old); err != nil {
		return err
	}
	_, err = lab.Docker(ctx, "rm", old)
	return err
}

// build compiles the edge for the host.
func build(ctx context.Context, folder, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/edge")
	cmd.Dir = filepath.Join(folder, "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the edge: %w\n%s", err, out)
	}
	return nil
}
