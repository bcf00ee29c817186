package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// inPlaceDrain bounds the wait for requests where the old containers have no successor yet: all this while, and during
// stop and start, new requests are held, and the edge does that for 60 s.
const inPlaceDrain = 15 * time.Second

// inPlace has the edge drain the containers, and Compose replace them: requests are held meanwhile. Up to the moment when
// Compose is told, a failure or the end of ctx undoes the drain; afterwards there is no old one to go back to.
func (t *turn) inPlace(ctx context.Context) error {
	old := running(t.existed)
	bound := t.r.Drain
	if bound == 0 {
		bound = inPlaceDrain
	}
	// Sessions end in any case: there is nobody who could be waited for.
	left, err := t.drainAndWait(ctx, old, drainage{bound: bound})
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		return t.undoDrain(context.WithoutCancel(ctx), old, interruptedIf(ctx, err))
	}
	t.tellDrained(old, left)
	if err := t.replace(context.WithoutCancel(ctx)); err != nil {
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

// replace has Compose stop the containers and start new ones, as many as there were.
func (t *turn) replace(ctx context.Context) error {
	var flags []string
	t.begin("stopping and starting")
	if t.r.Force {
		flags = append(flags, "--force-recreate")
	}
	if err := t.up(ctx, t.service.name, slices.Concat(flags, t.scale(t.n), t.stopFlags())...); err != nil {
		return err
	}
	t.done("Compose has stopped the old and started the new")
	return nil
}

// undoDrain has the edge send requests to the containers again, as far as they are there.
func (t *turn) undoDrain(ctx context.Context, all []container, cause error) error {
	if err := t.undrain(ctx, all); err != nil {
		return &Problem{
			fmt.Errorf("%w; and the drain can't be undone: %w", cause, err),
			t.undoHint(all),
		}
	}
	return fmt.Errorf("%w; what is left of the old containers serves as before", cause)
}

// plain has Compose replace or start the containers, with nobody's requests to think of.
func (t *turn) plain(ctx context.Context, doing string) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	t.say("%s", doing)
	// To the end: an interrupted Compose would leave it half done.
	if err := t.replace(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	all, err := t.containers(ctx, t.service.name)
	if err != nil {
		return err
	}
	if t.routed {
		return t.awaitReady(ctx, all)
	}
	return t.alive(ctx, all)
}
