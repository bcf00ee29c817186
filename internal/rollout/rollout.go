// Package rollout replaces the containers of Compose services without losing a request: it starts new containers, waits until the
// edge reports them ready, has the edge drain the old ones, and only then stops those.
//
// It runs in an operator's shell and uses nothing but the docker command; it reaches the edge by `docker compose exec`, or `docker exec`. It first
// makes a [Plan], which changes nothing, and then executes it.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// Rollout says which services to roll out, and how. A Rollout runs once.
type Rollout struct {
	// Docker runs the docker command.
	Docker  compose.StreamingDocker
	Project compose.Project
	// Edge is the Compose service that runs the edge, of the project or else of another one, or PROJECT/SERVICE.
	Edge string
	// Services are rolled out in this order. If there are none, all services are that the edge has a route to.
	Services []string
	// ReadyTimeout bounds the wait until new containers are ready.
	ReadyTimeout time.Duration
	// DrainTimeout bounds the wait until the requests and sockets of old containers have ended; the rest is aborted. 0 means
	// 60 s, or 15 s while the edge holds new requests.
	DrainTimeout time.Duration
	// SessionGrace is how long old containers still get the requests of their sticky sessions.
	SessionGrace time.Duration
	// StopTimeout is how long a container may take to stop before Docker kills it. 0 means the container's own setting.
	StopTimeout time.Duration
	// Pull is always, missing or never. If it is empty, the compose file decides.
	Pull string
	// Build builds the images that can be built, also those that exist.
	Build bool
	// Force replaces containers that are up to date, too.
	Force bool
	// SkipOneShots does not run the services again that have to complete first, such as migrations.
	SkipOneShots bool
	// CheckUpToDate has Run fail with an [UnreadyError] if the containers of a service that is up to date do not become ready.
	CheckUpToDate bool
	// IsLocked says that the caller has locked the services with [Rollout.Lock].
	IsLocked bool
	// Out gets a line for each step.
	Out io.Writer
	// IsTerminal says that Out is a terminal, on which a line can be overwritten while a step lasts.
	IsTerminal bool
	// ForceStop is closed when an interrupted rollout must not wait for requests any longer. It may be nil.
	ForceStop <-chan struct{}
}

var errInterrupted = errors.New("interrupted")

// UnreadyError says that a service runs what the file says, and is not ready.
type UnreadyError struct {
	Service string
	reason  error
}

// Error returns the reason.
func (e *UnreadyError) Error() string { return fmt.Sprintf("it is up to date, and %v", e.reason) }

// CheckReady returns an [UnreadyError] if a container of the services does not run, or is not ready on a route of the edge. It waits for nothing.
func (r *Rollout) CheckReady(ctx context.Context) error {
	s, names, err := r.readServices(ctx)
	if err != nil {
		return err
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := &serviceRollout{stack: s, rollout: r, service: s.Services[name]}
		all, err := t.containers(ctx, name)
		if err == nil {
			err = t.checkRunning(ctx, all)
		}
		if err == nil && len(s.routesTo(t.service, routes)) > 0 {
			var reasons []string
			if reasons, err = t.notReadyReasons(ctx, all); err == nil && len(reasons) > 0 {
				err = unready("%s", strings.Join(reasons, "; "))
			}
		}
		if isUnready(err) {
			return fmt.Errorf("%s: %w", name, &UnreadyError{name, err})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Plan returns what [Rollout.Run] would do now. It changes nothing, and takes no lock. An error has a hint (see package hint) if there is a
// next step to take.
func (r *Rollout) Plan(ctx context.Context) (*Plan, error) {
	s, names, err := r.readServices(ctx)
	if err != nil {
		return nil, errorOrInterrupted(ctx, err)
	}
	rollouts, err := r.planServices(ctx, s, names)
	if err != nil {
		return nil, errorOrInterrupted(ctx, err)
	}
	plan := new(Plan)
	for _, t := range rollouts {
		if len(t.plan.images) == 0 && t.plan.strategy != upToDate { // Compose's dry run needs the images
			if err := t.dryRun(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", t.service.Name, errorOrInterrupted(ctx, err))
			}
		}
		plan.Services = append(plan.Services, *t.plan)
	}
	return plan, nil
}

// Run rolls out the services, one after the other. It first plans all of them, and so finds most problems before it changes
// anything.
//
// If a step fails or ctx ends before an old container has been stopped, the service keeps its old containers and Run removes the
// new ones; later, Run finishes the service. Services that have not been started stay as they are. An error has a hint (see package hint) if
// there is a next step to take.
func (r *Rollout) Run(ctx context.Context) error {
	rollouts, unlock, err := r.lockAndPlan(ctx)
	if err != nil {
		return errorOrInterrupted(ctx, err)
	}
	defer unlock()
	for _, t := range rollouts {
		t.announce()
	}
	for i, t := range rollouts {
		rest := rollouts[i+1:]
		if err := t.run(ctx); err != nil {
			return withNotStarted(t, err, rest)
		}
		if len(rest) > 0 && ctx.Err() != nil {
			return withNotStarted(t, errInterrupted, rest)
		}
	}
	return nil
}

// Lock locks the services against other rollouts, until unlock is called or this process ends: for a caller that changes the compose files before it runs a rollout with IsLocked.
func (r *Rollout) Lock(ctx context.Context) (unlock func(), err error) {
	s, names, err := r.readServices(ctx)
	if err != nil {
		return nil, errorOrInterrupted(ctx, err)
	}
	return s.lockServices(ctx, names)
}

// lockAndPlan locks the services against other rollouts and plans them.
func (r *Rollout) lockAndPlan(ctx context.Context) (rollouts []*serviceRollout, unlock func(), err error) {
	s, names, err := r.readServices(ctx)
	if err != nil {
		return nil, nil, err
	}
	unlock = func() {}
	if !r.IsLocked {
		if unlock, err = s.lockServices(ctx, names); err != nil {
			return nil, nil, err
		}
	}
	if rollouts, err = r.planServices(ctx, s, names); err != nil {
		unlock()
		return nil, nil, err
	}
	return rollouts, unlock, nil
}

// readServices reads the compose file, and returns the names of the services to roll out.
func (r *Rollout) readServices(ctx context.Context) (*stack, []string, error) {
	s, err := r.readStack(ctx)
	if err != nil {
		return nil, nil, err
	}
	names, err := s.selectServices(ctx, r.Services)
	return s, names, err
}

// planServices reads the state of each service and plans its rollout. It changes nothing.
func (r *Rollout) planServices(ctx context.Context, s *stack, names []string) ([]*serviceRollout, error) {
	rollouts := make([]*serviceRollout, 0, len(names))
	completed := make(map[string]bool)
	planner := r.newPlanner(s, completed)
	for _, name := range names {
		t := &serviceRollout{
			stack: s, rollout: r, service: s.Services[name], completedOneShots: completed,
			isEdge:   name == s.edge.service,
			progress: progress{out: r.Out, isTerminal: r.IsTerminal, prefix: name},
		}
		if err := t.planFirst(ctx, planner); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rollouts = append(rollouts, t)
	}
	return rollouts, nil
}

// withNotStarted adds to an error the services that it keeps from being rolled out.
func withNotStarted(t *serviceRollout, err error, rest []*serviceRollout) error {
	err = fmt.Errorf("%s: %w", t.service.Name, err)
	if len(rest) == 0 {
		return err
	}
	names := make([]string, len(rest))
	for i, t := range rest {
		names[i] = t.service.Name
	}
	return fmt.Errorf("%w; not begun: %s", err, strings.Join(names, ", "))
}

// errorOrInterrupted returns errInterrupted instead of an error if ctx has ended.
func errorOrInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errInterrupted) {
		return errInterrupted
	}
	return err
}
