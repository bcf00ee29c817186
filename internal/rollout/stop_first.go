package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// stopFirstDrainTimeout bounds the wait for requests where the old containers have no successor yet: all this while, and during
// stop and start, new requests are held, and the edge does that for 60 s.
const stopFirstDrainTimeout = 15 * time.Second

// stopFirst has the edge drain the containers, and Compose replace them: requests are held meanwhile. Up to the moment when
// Compose is told, a failure or the end of ctx undoes the drain; afterwards there is no old one to go back to.
func (t *serviceRollout) stopFirst(ctx context.Context) error {
	old := runningContainers(t.existing)
	bound := t.rollout.DrainTimeout
	if bound == 0 {
		bound = stopFirstDrainTimeout
	}
	// Sessions end in any case: there is nobody who could be waited for.
	left, err := t.drainAndWait(ctx, old, drainOptions{timeout: bound})
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		return t.undoDrain(context.WithoutCancel(ctx), old, errorOrInterrupted(ctx, err))
	}
	t.reportDrained(old, left)
	if err := t.recreate(context.WithoutCancel(ctx)); err != nil {
		return t.undoDrain(context.WithoutCancel(ctx), old, err)
	}
	fresh, err := t.containers(ctx, t.service.name)
	if err != nil {
		return err
	}
	if err := t.awaitReady(ctx, fresh); err != nil {
		if !errors.Is(err, errInterrupted) {
			t.showLogs(context.WithoutCancel(ctx), fresh)
		}
		return fmt.Errorf("%w; the old container is gone, since two can't run at once", err)
	}
	return nil
}

// recreate has Compose stop the containers and start new ones, as many as there were.
func (t *serviceRollout) recreate(ctx context.Context) error {
	var flags []string
	t.startStep("stopping and starting")
	if t.rollout.Force {
		flags = append(flags, "--force-recreate")
	}
	if err := t.composeUp(ctx, t.service.name, slices.Concat(flags, t.scaleFlags(t.targetReplicas), t.stopFlags())...); err != nil {
		return err
	}
	t.finishStep("Compose has stopped the old and started the new")
	return nil
}

// undoDrain has the edge send requests to the containers again, as far as they are there.
func (t *serviceRollout) undoDrain(ctx context.Context, all []container, cause error) error {
	if err := t.undrain(ctx, all); err != nil {
		return &HintError{
			fmt.Errorf("%w; and the drain can't be undone: %w", cause, err),
			t.undrainHint(all),
		}
	}
	return fmt.Errorf("%w; what is left of the old containers serves as before", cause)
}

// recreateWithoutDrain has Compose replace or start the containers, with nobody's requests to think of.
func (t *serviceRollout) recreateWithoutDrain(ctx context.Context, doing string) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	t.printLine("%s", doing)
	// To the end: an interrupted Compose would leave it half done.
	if err := t.recreate(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	all, err := t.containers(ctx, t.service.name)
	if err != nil {
		return err
	}
	if t.hasRoute {
		return t.awaitReady(ctx, all)
	}
	return t.checkRunning(ctx, all)
}
