package main

import (
	"context"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

var silentBackend = scenario{
	name:     "accepts and never answers",
	what:     "One of two replicas goes on to accept connections, but answers neither requests nor health checks.",
	replicas: 2,
	change: func(ctx context.Context, s *testbed) error {
		if err := s.setBehaviour(ctx, 0, "silent=true"); err != nil {
			return err
		}
		if err := sleep(ctx, 8*time.Second); err != nil {
			return err
		}
		return s.setBehaviour(ctx, 0, "silent=false")
	},
}

var flappingHealth = scenario{
	name:     "flapping health",
	what:     "The health checks of both replicas fail and pass alternately, for four seconds each, while the replicas answer all requests.",
	replicas: 2,
	change: func(ctx context.Context, s *testbed) error {
		for i, how := range []string{"health=flap", "health=flap"} {
			if err := s.setBehaviour(ctx, i, how); err != nil {
				return err
			}
		}
		return sleep(ctx, 10*time.Second)
	},
}

var pausedReplica = scenario{
	name:     "pause",
	what:     "`docker pause` freezes one of two replicas for five seconds.",
	replicas: 2,
	change: func(ctx context.Context, s *testbed) error {
		id, err := s.project.Container(ctx, "api")
		if err != nil {
			return err
		}
		if _, err := harness.RunDocker(ctx, "pause", id); err != nil {
			return err
		}
		if err := sleep(ctx, 5*time.Second); err != nil {
			return err
		}
		_, err = harness.RunDocker(ctx, "unpause", id)
		return err
	},
}
