package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// A start-first rollout starts new containers, has the edge drain the old ones once the new ones are ready, and removes them. If
// a step before the removal fails, rollBack undoes the steps.

// keepReused keeps containers of the new version that an earlier rollout left when it was killed. It ends their drain: that
// rollout may have been about to replace them.
func (t *serviceRollout) keepReused(ctx context.Context, reused []container) error {
	t.newContainers = reused
	t.printLine("%s of the new version already run, and are kept", containerNames(reused))
	if t.isEdge {
		return nil // nobody drains it
	}
	return t.requestUndrain(ctx, reused)
}

// removeStopped removes containers that do not run. Otherwise Compose would start them, although they are old.
func (t *serviceRollout) removeStopped(ctx context.Context, stopped []container) error {
	t.startStep("removing %s", containerNames(stopped))
	if err := t.stopAndRemove(ctx, stopped, nil); err != nil {
		return err
	}
	t.finishStep("removed %s, which did not run", containerNames(stopped))
	return nil
}

// startNew has Compose start new containers beside those that run. It is not bound to ctx: a container that Compose has created
// in part could appear after the rollback has listed the containers.
func (t *serviceRollout) startNew(ctx context.Context, s step) error {
	reused := t.newContainers
	old := difference(s.containers, reused)
	t.startStep("starting %d beside %s", s.count, containerNames(s.containers))
	flags := slices.Concat([]string{"--no-recreate"}, t.scaleFlags(len(s.containers)+s.count))
	if err := t.composeUp(context.WithoutCancel(ctx), t.service.Name, flags...); err != nil {
		return err
	}
	all, err := t.containers(ctx, t.service.Name)
	if err != nil {
		return err
	}
	t.newContainers = difference(all, old)
	if len(t.newContainers) < t.plan.replicas {
		return fmt.Errorf("%d of %d new containers are there, although Compose started them", len(t.newContainers), t.plan.replicas)
	}
	t.finishStep("started %s beside %s", containerNames(difference(t.newContainers, reused)), containerNames(old))
	return nil
}

// drainOld has the edge send no new requests to the old containers, and waits until their requests and sockets have ended or the
// step's timeout is over.
func (t *serviceRollout) drainOld(ctx context.Context, s step) error {
	t.drainRequested = true // even if the command fails: the edge may have received it
	options := drainOptions{timeout: s.timeout, sessionGrace: s.sessionGrace}
	if len(t.newContainers) > 0 {
		options.keepWaiting = func() error { return t.checkRunning(ctx, t.newContainers) }
	}
	left, err := t.drainAndWait(ctx, s.containers, options)
	if err == nil {
		t.reportDrained(s.containers, left)
	}
	return err
}

// removeOld stops and removes the old containers by ID. Compose does not: with a smaller scale it could remove the new ones.
func (t *serviceRollout) removeOld(ctx context.Context, old []container) error {
	t.startStep("stopping %s", containerNames(old))
	err := t.stopAndRemove(ctx, old, t.stopFlags())
	all, listErr := t.containers(ctx, t.service.Name)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	if left := intersection(all, old); len(left) > 0 {
		return hint.New(
			fmt.Errorf("the new containers serve, but old ones are left: %w", errors.Join(err, errors.New(containerNames(left)))),
			"docker rm --force "+strings.Join(containerIDs(left), " "),
		)
	}
	t.finishStep("stopped and removed %s", containerNames(old))
	return nil
}
