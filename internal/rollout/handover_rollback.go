package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// returnToOldEdge has the old edge serve again because of cause, and removes the new one. The end of ctx does not stop it. It never removes an
// edge unless the other one serves.
func (t *serviceRollout) returnToOldEdge(ctx context.Context, cause error) error {
	cause = errorOrInterrupted(ctx, cause)
	ctx = context.WithoutCancel(ctx)
	all, err := t.containers(ctx, t.service.Name)
	if err != nil {
		return fmt.Errorf("%w; the containers can't be listed, and a new one may be left: %w", cause, err)
	}
	old := t.oldContainers()
	newer := difference(all, old)
	t.printLine("%v: going back to %s", cause, containerNames(old))
	if err := t.restoreOldEdge(ctx, intersection(runningContainers(all), old)); err != nil {
		return hint.New(fmt.Errorf("%w; the new edge stays, because the old one does not serve: %w", cause, err), "edge rollout "+t.service.Name)
	}
	if len(newer) == 0 {
		return fmt.Errorf("%w; the old edge serves as before", cause)
	}
	if t.drainRequested {
		if err := t.letLeave(ctx, runningContainers(newer)); err != nil {
			return hint.New(fmt.Errorf("%w; the old edge serves again, and the new one stays: %w", cause, err), "edge rollout "+t.service.Name)
		}
	}
	t.startStep("removing %s", containerNames(newer))
	if err := t.stopAndRemove(ctx, newer, t.stopFlags()); err != nil {
		return hint.New(
			fmt.Errorf("%w; the old edge serves as before, but the new one is left: %w", cause, err),
			"docker rm --force "+strings.Join(containerIDs(newer), " "),
		)
	}
	t.finishStep("removed %s", containerNames(newer))
	return fmt.Errorf("%w; the new edge is removed, the old one serves as before", cause)
}

// restoreOldEdge waits until one of the old edges serves, and tells it to if it has left. The one that served when the rollout began comes
// first.
func (t *serviceRollout) restoreOldEdge(ctx context.Context, old []container) error {
	slices.SortStableFunc(old, func(a, b container) int {
		return cmp.Compare(t.edges[b.ID].rank(), t.edges[a.ID].rank())
	})
	err := errors.New("it has ended")
	for deadline := time.Now().Add(restoreTimeout); len(old) > 0 && time.Now().Before(deadline); _ = waitForNextPoll(ctx, nil) {
		for _, c := range old {
			var state edgeState
			if state, err = t.edgeState(ctx, c); err != nil {
				continue
			}
			switch state.State {
			case edgeServing:
				return nil
			case edgeLeaving:
				_, err = t.handoverCommand(ctx, c, nil, "handover", "stay")
			case edgeStandby:
				_, err = t.handoverCommand(ctx, c, nil, "handover", "take")
			default:
				err = errors.New(c.Name + " is " + state.State)
			}
			break
		}
	}
	return cmp.Or(err, errors.New("it does not serve"))
}

// rank orders edges by how much they served.
func (s edgeState) rank() int {
	return slices.Index([]string{edgeStandby, edgeLeaving, edgeServing}, s.State)
}

// letLeave has new edges let their clients go, before they are removed.
func (t *serviceRollout) letLeave(ctx context.Context, newer []container) error {
	for _, c := range newer {
		if _, err := t.handoverCommand(ctx, c, nil, "handover", "leave"); err != nil && !t.isGone(ctx, c) {
			state, stateErr := t.edgeState(ctx, c)
			if stateErr == nil && state.State == edgeServing { // one that has not taken over has nothing to leave
				return err
			}
		}
	}
	_, err := t.waitUntilLeft(ctx, newer, t.rollout.drainTimeout(), nil, t.rollout.ForceStop)
	if err != nil {
		t.printLine("not waiting for the clients of %s: %v", containerNames(newer), err)
	}
	return nil
}
