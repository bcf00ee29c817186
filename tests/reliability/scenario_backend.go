package main

import (
	"context"
	"time"

	"github.com/theworklabs/edge/tests/reliability/lab"
)

var silent = scenario{
	name:     "accepts and never answers",
	what:     "One of two replicas goes on accepting connections, and answers neither requests nor checks.",
	replicas: 2,
	change: func(ctx context.Context, s *stage) error {
		if err := s.behave(ctx, 0, "silent=true"); err != nil {
			return err
		}
		if err := pass(ctx, 8*time.Second); err != nil {
			return err
		}
		return s.behave(ctx, 0, "silent=false")
	},
}

var flapping = scenario{
	name:     "flapping health",
	what:     "The health check of both replicas fails and passes in turn, four seconds each, while they answer all requests.",
	replicas: 2,
	change: func(ctx context.Context, s *stage) error {
		for i, how := range []string{"health=flap", "health=flap"} {
			if err := s.behave(ctx, i, how); err != nil {
				return err
			}
		}
		return pass(ctx, 10*time.Second)
	},
}

var pause = scenario{
	name:     "pause",
	what:     "One of two replicas is frozen for five seconds with `docker pause`, and goes on.",
	replicas: 2,
	change: func(ctx context.Context, s *stage) error {
		id, err := s.project.Container(ctx, "api")
		if err != nil {
			return err
		}
		if _, err := lab.Docker(ctx, "pause", id); err != nil {
			return err
		}
		if err := pass(ctx, 5*time.Second); err != nil {
			return err
		}
		_, err = lab.Docker(ctx, "unpause", id)
		return err
	},
}
