package main

import (
	"context"
	"fmt"
	"time"
)

// termination is what the replicas of api do on SIGTERM.
type termination struct {
	name string // ON_TERM of tests/backends/app
	what string // a sentence for the report
	// minStopTime is the least time that a stop takes.
	minStopTime func(effort) time.Duration
}

// The terminations. The default is rude.
var (
	immediateExit = termination{
		name:        "rude",
		what:        "A replica exits at once on SIGTERM.",
		minStopTime: func(effort) time.Duration { return 0 },
	}
	gracefulExit = termination{
		name:        "polite",
		what:        "A replica finishes its requests on SIGTERM, and exits.",
		minStopTime: func(effort) time.Duration { return 0 },
	}
	ignoresSIGTERM = termination{
		name:        "deaf",
		what:        "A replica ignores SIGTERM, and serves until Docker kills it.",
		minStopTime: func(e effort) time.Duration { return e.Stop },
	}
	unavailable = termination{
		name:        "unavailable",
		what:        "After SIGTERM, a replica answers 503 to every request and every health check, and exits 1.5 s later.",
		minStopTime: func(effort) time.Duration { return 1500 * time.Millisecond },
	}
)

// env returns the variables of the compose file for replicas that terminate in this way.
func (t termination) env() map[string]string {
	return map[string]string{"LAB_ON_TERM": t.name}
}

// checkStopTime returns a change that fails if effort.Times stops take less time than such replicas need: then the replicas were of
// another kind, and the scenario has tested nothing.
func (t termination) checkStopTime(change func(context.Context, *testbed) error) func(context.Context, *testbed) error {
	return func(ctx context.Context, s *testbed) error {
		began := time.Now()
		if err := change(ctx, s); err != nil {
			return err
		}
		if took, least := time.Since(began), t.minStopTime(s.effort)*time.Duration(s.effort.Times); took < least {
			return fmt.Errorf("the replicas stopped within %s, want at least %s for %s ones", took.Round(time.Millisecond), least, t.name)
		}
		return nil
	}
}
