package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// restoreTimeout is how long old containers may take to be ready again after the edge has ended their drain.
const restoreTimeout = 10 * time.Second

// rollBack undoes the steps of a start-first rollout because of cause, and returns an error with the resulting state. The end
// of ctx does not stop it.
//
// It never removes a container that serves in favor of one that does not: if the old containers do not become ready again, the
// new ones stay.
func (t *serviceRollout) rollBack(ctx context.Context, cause error) error {
	cause = errorOrInterrupted(ctx, cause)
	ctx = context.WithoutCancel(ctx)
	all, err := t.containers(ctx, t.service.Name)
	if err != nil {
		return fmt.Errorf("%w; the containers can't be listed, and new ones may be left: %w", cause, err)
	}
	started, old := difference(all, t.existing), t.oldContainers()
	if t.drainRequested {
		if err := t.restoreOld(ctx, old); err != nil {
			return hint.New(
				fmt.Errorf("%w; the new containers stay beside the old ones, because the old ones are not ready again: %w", cause, err),
				t.undrainHint(old),
			)
		}
	}
	if len(started) == 0 {
		return fmt.Errorf("%w; the old containers serve as before", cause)
	}
	t.printLine("%v: going back to %s", cause, containerNames(old))
	if err := t.removeNew(ctx, started); err != nil {
		return hint.New(
			fmt.Errorf("%w; the old containers serve as before, but new ones are left: %w", cause, err),
			"docker rm --force "+strings.Join(containerIDs(started), " "),
		)
	}
	t.finishStep("removed %s", containerNames(started))
	return fmt.Errorf("%w; the new containers are removed, the old ones serve as before", cause)
}

// oldContainers returns the containers that the plan drains and removes.
func (t *serviceRollout) oldContainers() []container {
	for _, s := range t.plan.steps {
		if s.action == drainOld {
			return s.containers
		}
		if t.isEdge && s.action == removeOld {
			return s.containers
		}
	}
	return nil
}

// removeNew removes new containers. Those that became ready have requests by now, so it drains them first, and keeps them if the
// drain fails.
func (t *serviceRollout) removeNew(ctx context.Context, started []container) error {
	left, err := t.drainAndWait(ctx, started, drainOptions{timeout: t.rollout.drainTimeout(), forceStop: t.rollout.ForceStop})
	switch {
	case err == nil:
		t.reportDrained(started, left)
	case errors.Is(err, errForceStopped):
		t.printLine("not waiting for what is under way on %s", containerNames(started))
	case len(runningContainers(started)) > 0:
		return err
	}
	t.startStep("removing %s", containerNames(started))
	return t.stopAndRemove(ctx, started, t.stopFlags())
}

// restoreOld has the edge send requests to the old containers again, and waits until one of them is ready.
func (t *serviceRollout) restoreOld(ctx context.Context, old []container) error {
	t.startStep("undoing the drain of %s", containerNames(old))
	var err error
	for deadline := time.Now().Add(restoreTimeout); time.Now().Before(deadline); _ = waitForNextPoll(ctx, nil) {
		if err = t.requestUndrain(ctx, old); err != nil {
			continue // the edge itself may be restarting
		}
		var found []endpoint
		if found, err = t.endpointsOf(ctx, old); err != nil {
			continue
		}
		err = errors.New("none of them is ready")
		for _, e := range found {
			if e.State == stateReady {
				t.finishStep("the edge sends requests to %s again", containerNames(old))
				return nil
			}
		}
	}
	return err
}
