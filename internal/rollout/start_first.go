package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// startFirst starts new containers beside the old ones, has these drained when the new ones are ready, and removes them. Up to
// the moment when the first old one is stopped the way back is open, and is taken when a step fails or ctx ends.
func (t *serviceRollout) startFirst(ctx context.Context, want version) error {
	m := &replacement{serviceRollout: t}
	if err := m.startNew(ctx, want); err != nil {
		return m.rollBack(ctx, err)
	}
	if err := m.awaitNewReady(ctx); err != nil {
		return m.rollBack(ctx, err)
	}
	if err := m.drainOld(ctx); err != nil {
		return m.rollBack(ctx, err)
	}
	if ctx.Err() != nil {
		return m.rollBack(ctx, errInterrupted)
	}
	if err := m.removeOld(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		m.printLine("interrupted too late to go back: it is finished")
	}
	return nil
}

// replacement is a service on its way from old containers to new ones.
type replacement struct {
	*serviceRollout
	oldContainers  []container // what is to be replaced
	reused         []container // new ones that an earlier rollout has left, when it was killed
	newContainers  []container // new ones
	drainRequested bool        // the edge has been told to drain the old ones
}

// startNew starts as many new containers as are missing. Containers that don't run are removed before: Compose would start
// them, and they are old.
func (m *replacement) startNew(ctx context.Context, want version) error {
	now := runningContainers(m.existing)
	if !m.rollout.Force {
		m.reused = filterByVersion(now, want)
	}
	m.oldContainers = difference(now, m.reused)
	if len(m.reused) > 0 {
		m.printLine("%s of the new version already run, and are kept", containerNames(m.reused))
		// They may be what an earlier rollout was about to replace: now they are what is wanted.
		if err := m.undrain(ctx, m.reused); err != nil {
			return err
		}
	}
	if dead := difference(m.existing, now); len(dead) > 0 {
		m.startStep("removing %s", containerNames(dead))
		if err := m.stopAndRemove(ctx, dead, nil); err != nil {
			return err
		}
		m.finishStep("removed %s, which did not run", containerNames(dead))
	}
	if missing := m.targetReplicas - len(m.reused); missing > 0 {
		m.startStep("starting %d beside %s", missing, containerNames(now))
		// To the end: it takes a moment, and what is half created could appear after it was looked for.
		flags := slices.Concat([]string{"--no-recreate"}, m.scaleFlags(len(now)+missing))
		if err := m.composeUp(context.WithoutCancel(ctx), m.service.name, flags...); err != nil {
			return err
		}
	}
	if err := m.findNew(ctx); err != nil {
		return err
	}
	if started := difference(m.newContainers, m.reused); len(started) > 0 {
		m.finishStep("started %s beside %s", containerNames(started), containerNames(m.oldContainers))
	}
	return nil
}

// findNew looks for the new containers.
func (m *replacement) findNew(ctx context.Context) error {
	all, err := m.containers(ctx, m.service.name)
	if err != nil {
		return err
	}
	m.newContainers = difference(all, m.oldContainers)
	if len(m.newContainers) < m.targetReplicas {
		return fmt.Errorf("%d of %d new containers are there, although Compose started them", len(m.newContainers), m.targetReplicas)
	}
	return nil
}

func (m *replacement) awaitNewReady(ctx context.Context) error {
	err := m.serviceRollout.awaitReady(ctx, m.newContainers)
	if err != nil && !errors.Is(err, errInterrupted) {
		m.showLogs(context.WithoutCancel(ctx), m.newContainers)
	}
	return err
}

// drainOld has the edge send nothing more to the old containers, and waits until nothing is under way on them. What goes on
// for longer than it may is left to be cut.
func (m *replacement) drainOld(ctx context.Context) error {
	m.drainRequested = true // also if that fails: the order may have arrived
	left, err := m.drainAndWait(ctx, m.oldContainers, drainOptions{
		sessionGrace: m.rollout.SessionGrace, timeout: m.drainTimeout(),
		check: func() error { return m.checkRunning(ctx, m.newContainers) },
	})
	if err == nil {
		m.reportDrained(m.oldContainers, left)
	}
	return err
}

// removeOld stops and removes the old containers, by ID: Compose, told to run fewer, would take the new ones.
func (m *replacement) removeOld(ctx context.Context) error {
	m.startStep("stopping %s", containerNames(m.oldContainers))
	err := m.stopAndRemove(ctx, m.oldContainers, m.stopFlags())
	all, unseen := m.containers(ctx, m.service.name)
	if unseen != nil {
		return errors.Join(err, unseen)
	}
	if left := intersection(all, m.oldContainers); len(left) > 0 {
		return &HintError{
			fmt.Errorf("the new containers serve, but old ones are left: %w", errors.Join(err, errors.New(containerNames(left)))),
			"docker rm --force " + strings.Join(containerIDs(left), " "),
		}
	}
	m.finishStep("stopped and removed %s", containerNames(m.oldContainers))
	return nil
}
