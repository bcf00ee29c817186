package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// restoreTimeout is how long old containers may take to be ready again when the edge has stopped draining them.
const restoreTimeout = 10 * time.Second

// rollBack undoes what has been done, because of cause, and returns the error that tells of both. It is not ended by ctx.
//
// A container that serves is never taken away for one that doesn't: when the old ones can't be brought back, the new ones
// stay beside them.
func (m *replacement) rollBack(ctx context.Context, cause error) error {
	cause = errorOrInterrupted(ctx, cause)
	ctx = context.WithoutCancel(ctx)
	started, err := m.startedContainers(ctx)
	if err != nil {
		return fmt.Errorf("%w; what was started can't be found: %w", cause, err)
	}
	if m.drainRequested {
		if err := m.restoreOld(ctx); err != nil {
			return &HintError{
				fmt.Errorf("%w; the new containers stay beside the old ones, because these can't be brought back: %w", cause, err),
				m.undrainHint(m.oldContainers),
			}
		}
	}
	if len(started) == 0 {
		return fmt.Errorf("%w; the old containers serve as before", cause)
	}
	m.printLine("%v: going back to %s", cause, containerNames(m.oldContainers))
	if err := m.removeNew(ctx, started); err != nil {
		return &HintError{
			fmt.Errorf("%w; the old containers serve as before, but new ones are left: %w", cause, err),
			"docker rm --force " + strings.Join(containerIDs(started), " "),
		}
	}
	m.finishStep("removed %s", containerNames(started))
	return fmt.Errorf("%w; the new containers are removed, the old ones serve as before", cause)
}

// removeNew removes new containers. Those that became ready have requests by now, so they are drained first, and stay if they
// can't be.
func (m *replacement) removeNew(ctx context.Context, started []container) error {
	left, err := m.drainAndWait(ctx, started, drainOptions{timeout: m.drainTimeout(), forceStop: m.rollout.ForceStop})
	switch {
	case err == nil:
		m.reportDrained(started, left)
	case errors.Is(err, errForceStopped):
		m.printLine("not waiting for what is under way on %s", containerNames(started))
	case len(runningContainers(started)) > 0:
		return err
	}
	m.startStep("removing %s", containerNames(started))
	return m.stopAndRemove(ctx, started, m.stopFlags())
}

// startedContainers returns the containers that this turn has started.
func (m *replacement) startedContainers(ctx context.Context) ([]container, error) {
	all, err := m.containers(ctx, m.service.name)
	return difference(all, m.existing), err
}

// restoreOld has the edge send requests to the old containers again, and waits until one of them is ready.
func (m *replacement) restoreOld(ctx context.Context) error {
	m.startStep("undoing the drain of %s", containerNames(m.oldContainers))
	var err error
	for deadline := time.Now().Add(restoreTimeout); time.Now().Before(deadline); _ = waitForNextPoll(ctx, nil) {
		if err = m.undrain(ctx, m.oldContainers); err != nil {
			continue // an edge that is being replaced comes back
		}
		var found []endpoint
		if found, err = m.endpointsOf(ctx, m.oldContainers); err != nil {
			continue
		}
		err = errors.New("none of them is ready")
		for _, e := range found {
			if e.State == stateReady {
				m.finishStep("the edge sends requests to %s again", containerNames(m.oldContainers))
				return nil
			}
		}
	}
	return err
}
