package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// comeback is how long old containers may take to be ready again when the edge has stopped draining them.
const comeback = 10 * time.Second

// back undoes what has been done, because of cause, and returns the error that tells of both. It is not ended by ctx.
//
// A container that serves is never taken away for one that doesn't: when the old ones can't be brought back, the new ones
// stay beside them.
func (m *move) back(ctx context.Context, cause error) error {
	cause = interruptedIf(ctx, cause)
	ctx = context.WithoutCancel(ctx)
	started, err := m.started(ctx)
	if err != nil {
		return fmt.Errorf("%w; what was started can't be found: %w", cause, err)
	}
	if m.drained {
		if err := m.bringBack(ctx); err != nil {
			return &Problem{
				fmt.Errorf("%w; the new containers stay beside the old ones, because these can't be brought back: %w", cause, err),
				m.undoHint(m.old),
			}
		}
	}
	if len(started) == 0 {
		return fmt.Errorf("%w; the old containers serve as before", cause)
	}
	m.say("%v: going back to %s", cause, names(m.old))
	if err := m.discard(ctx, started); err != nil {
		return &Problem{
			fmt.Errorf("%w; the old containers serve as before, but new ones are left: %w", cause, err),
			"docker rm --force " + strings.Join(ids(started), " "),
		}
	}
	m.done("removed %s", names(started))
	return fmt.Errorf("%w; the new containers are removed, the old ones serve as before", cause)
}

// discard removes new containers. Those that became ready have requests by now, so they are drained first, and stay if they
// can't be.
func (m *move) discard(ctx context.Context, started []container) error {
	left, err := m.drainAndWait(ctx, started, drainage{bound: m.drainBound(), hurry: m.r.Hurry})
	switch {
	case err == nil:
		m.tellDrained(started, left)
	case errors.Is(err, errHurried):
		m.say("not waiting for what is under way on %s", names(started))
	case len(running(started)) > 0:
		return err
	}
	m.begin("removing %s", names(started))
	return m.remove(ctx, started, m.stopFlags())
}

// started returns the containers that this turn has started.
func (m *move) started(ctx context.Context) ([]container, error) {
	all, err := m.containers(ctx, m.service.name)
	return without(all, m.existed), err
}

// bringBack has the edge send requests to the old containers again, and waits until one of them is ready.
func (m *move) bringBack(ctx context.Context) error {
	m.begin("undoing the drain of %s", names(m.old))
	var err error
	for deadline := time.Now().Add(comeback); time.Now().Before(deadline); _ = pause(ctx, nil) {
		if err = m.undrain(ctx, m.old); err != nil {
			continue // an edge that is being replaced comes back
		}
		var found []endpoint
		if found, err = m.endpointsOf(ctx, m.old); err != nil {
			continue
		}
		err = errors.New("none of them is ready")
		for _, e := range found {
			if e.State == ready {
				m.done("the edge sends requests to %s again", names(m.old))
				return nil
			}
		}
	}
	return err
}
