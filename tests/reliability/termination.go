package main

import (
	"context"
	"fmt"
	"time"
)

// termination is what the replicas of api do when they are told to stop.
type termination struct {
	name string // ON_TERM of tests/backends/app
	what string // in a sentence, for the report
	// minStopTime is how long a stop takes at least.
	minStopTime func(effort) time.Duration
}

// The terminations. The usual one is rude.
var (
	immediateExit = termination{
		name:        "rude",
		what:        "A replica exits at once when it is told to stop.",
		minStopTime: func(effort) time.Duration { return 0 },
	}
	gracefulExit = termination{
		name:        "polite",
		what:        "A replica finishes its requests when it is told to stop, and exits.",
		minStopTime: func(effort) time.Duration { return 0 },
	}
	ignoresSIGTERM = termination{
		name:        "deaf",
		what:        "A replica ignores that it is told to stop, and serves until Docker kills it.",
		minStopTime: func(e effort) time.Duration { return e.Stop },
	}
	unavailable = termination{
		name:        "unavailable",
		what:        "A replica that is told to stop answers 503 to every request and every health check, and exits 1.5 s later.",
		minStopTime: func(effort) time.Duration { return 1500 * time.Millisecond },
	}
)

// env returns the variables of the compose file with which replicas terminate in this way.
func (t termination) env() map[string]string {
	return map[string]string{"LAB_ON_TERM": t.name}
}

// checkStopTime returns a change that stops replicas as often as the effort says. It fails if the stops took less time than such
// replicas need: then the replicas were of another kind, and the scenario has tried nothing.
func (t termination) checkStopTime(change func(context.Context, *testbed) error) func(context.Context, *testbed) error {
	return func(ctx context.Context, s *testbed) error {
		began := time.Now()
		if err := change(ctx, s); err != nil {
			return err
		}
		if took, least := time.Since(began), t.minStopTime(s.effort)*time.Duration(s.effort.Times); took < least {
			return fmt.Errorf("the replicas stopped within %s, want %s at least of %s ones", took.Round(time.Millisecond), least, t.name)
		}
		return nil
	}
}
