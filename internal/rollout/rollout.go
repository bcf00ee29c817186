// Package rollout replaces the containers of Compose services by new ones without losing a request: it starts the new ones
// beside the old, waits until the edge finds them ready, has it drain the old ones, and only then stops those.
//
// It works in an operator's shell, by the docker command alone; the edge is asked through `docker compose exec`.
package rollout

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// Rollout is what is to be rolled out, and how. Run it once.
type Rollout struct {
	// Docker runs the docker command.
	Docker  compose.Docker
	Project compose.Project
	// Edge is the Compose service that is the edge.
	Edge string
	// Services are rolled out in this order; none means all that the edge has a route to.
	Services []string
	// ReadyTimeout bounds the wait for new containers to be ready.
	ReadyTimeout time.Duration
	// DrainTimeout bounds the wait for what is under way on old containers; what is left is then cut. 0 means 60 s, or 15 s where
	// requests are held meanwhile.
	DrainTimeout time.Duration
	// SessionGrace is for how long requests of sticky sessions may still come to old containers.
	SessionGrace time.Duration
	// StopTimeout is how long a container may take to stop before it is killed; 0 leaves it to the container's own setting.
	StopTimeout time.Duration
	// Pull is always, missing or never; empty leaves it to the compose file.
	Pull string
	// Build has images that can be built built first.
	Build bool
	// Force replaces containers that are up to date, too.
	Force bool
	// Out is told of each step.
	Out io.Writer
	// IsTerminal says that Out is a terminal, on which a line can be written again while a step lasts.
	IsTerminal bool
	// ForceStop is closed when an interrupted rollout should wait no longer for requests; nil: never.
	ForceStop <-chan struct{}
}

// Run rolls the services out, one after the other. What it can find out without changing anything it finds out first, for
// all of them.
//
// When a step fails, or ctx ends, the service goes on with its old containers and the new ones are removed, as long as no
// old one has been stopped; from then on the rest is done. Services that have not had their turn are left alone. An error
// is a [*HintError] if there is something to do about it.
func (r *Rollout) Run(ctx context.Context) error {
	turns, unlock, err := r.lockAndPlan(ctx)
	if err != nil {
		return errorOrInterrupted(ctx, err)
	}
	defer unlock()
	for i, t := range turns {
		if err := t.run(ctx); err != nil {
			return withNotStarted(t, err, turns[i+1:])
		}
		if rest := turns[i+1:]; len(rest) > 0 && ctx.Err() != nil {
			return withNotStarted(t, errInterrupted, rest)
		}
	}
	return nil
}

// lockAndPlan takes the locks and plans the turns; unlock gives the locks back.
func (r *Rollout) lockAndPlan(ctx context.Context) (turns []*serviceRollout, unlock func(), err error) {
	s, err := r.readStack(ctx)
	if err != nil {
		return nil, nil, err
	}
	names, err := s.selectServices(ctx, r.Services)
	if err != nil {
		return nil, nil, err
	}
	if unlock, err = s.lockServices(ctx, names); err != nil {
		return nil, nil, err
	}
	if turns, err = r.plan(ctx, s, names); err != nil {
		unlock()
		return nil, nil, err
	}
	return turns, unlock, nil
}

// plan prepares the turn of each service, and says of which two can't run at once.
func (r *Rollout) plan(ctx context.Context, s *stack, names []string) ([]*serviceRollout, error) {
	turns := make([]*serviceRollout, 0, len(names))
	ran := make(map[string]bool)
	for _, name := range names {
		t, err := r.planService(ctx, s, s.services[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		t.completedOneShots = ran
		turns = append(turns, t)
	}
	for _, t := range turns {
		t.announce()
	}
	return turns, nil
}

func withNotStarted(t *serviceRollout, err error, rest []*serviceRollout) error {
	err = fmt.Errorf("%s: %w", t.service.name, err)
	if len(rest) == 0 {
		return err
	}
	names := make([]string, len(rest))
	for i, t := range rest {
		names[i] = t.service.name
	}
	return fmt.Errorf("%w; not begun: %s", err, strings.Join(names, ", "))
}
