package main

import (
	"context"
	"strconv"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// scaleScenario returns the scenario in which replicas are added and removed again.
func scaleScenario(t termination) scenario {
	return scenario{
		name:    "scale 1 → 3 → 1 (" + t.name + ")",
		what:    "`docker compose up --scale` adds two replicas and removes them again. " + t.what,
		promise: promise{maxP99Ratio: 1.5},
		env:     t.env(),
		change: t.checkStopTime(func(ctx context.Context, s *testbed) error {
			for range s.effort.Times {
				for _, n := range []int{3, 1} {
					if err := s.scale(ctx, n); err != nil {
						return err
					}
					if err := sleep(ctx, s.effort.Window); err != nil {
						return err
					}
				}
			}
			return nil
		}),
	}
}

// scale changes the number of replicas of api, and waits until all of them answer.
func (s *testbed) scale(ctx context.Context, n int) error {
	_, err := s.project.Compose(ctx, "up", "--detach", "--no-deps", "--no-recreate", "--scale", "api="+strconv.Itoa(n), "api")
	if err != nil {
		return err
	}
	return s.waitAnswering(ctx, n)
}

// slowStartTime is how long a new replica is slow.
const slowStartTime = 4 * time.Second

var slowStart = scenario{
	name: "slow start",
	what: "A second replica is added. At first it answers one request at a time, each after 0.2 s; it gets faster for four seconds.",
	env:  map[string]string{"LAB_SLOW_START": slowStartTime.String()},
	prepare: func(ctx context.Context, s *testbed) error {
		return harness.EventuallyContext(ctx, 2*slowStartTime, "the first replica is fast", func() bool {
			fast, cancel := context.WithTimeout(ctx, 200*time.Millisecond) // includes the time to inspect the container
			defer cancel()
			return s.askReplica(fast, 0, "/_test/echo") == nil
		})
	},
	change: func(ctx context.Context, s *testbed) error {
		if err := s.scale(ctx, 2); err != nil {
			return err
		}
		return sleep(ctx, slowStartTime)
	},
}
