package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// beside starts new containers beside the old ones, has these drained when the new ones are ready, and removes them. Up to
// the moment when the first old one is stopped the way back is open, and is taken when a step fails or ctx ends.
func (t *turn) beside(ctx context.Context, want version) error {
	m := &move{turn: t}
	if err := m.start(ctx, want); err != nil {
		return m.back(ctx, err)
	}
	if err := m.awaitReady(ctx); err != nil {
		return m.back(ctx, err)
	}
	if err := m.drainOld(ctx); err != nil {
		return m.back(ctx, err)
	}
	if ctx.Err() != nil {
		return m.back(ctx, errInterrupted)
	}
	if err := m.finish(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		m.say("interrupted too late to go back: it is finished")
	}
	return nil
}

// move is a service on its way from old containers to new ones.
type move struct {
	*turn
	old     []container // what is to be replaced
	adopted []container // new ones that an earlier rollout has left, when it was killed
	fresh   []container // new ones
	drained bool        // the edge has been told to drain the old ones
}

// start starts as many new containers as are missing. Containers that don't run are removed before: Compose would start
// them, and they are old.
func (m *move) start(ctx context.Context, want version) error {
	now := running(m.existed)
	if !m.r.Force {
		m.adopted = ofVersion(now, want)
	}
	m.old = without(now, m.adopted)
	if len(m.adopted) > 0 {
		m.say("%s of the new version already run, and are kept", names(m.adopted))
		// They may be what an earlier rollout was about to replace: now they are what is wanted.
		if err := m.undrain(ctx, m.adopted); err != nil {
			return err
		}
	}
	if dead := without(m.existed, now); len(dead) > 0 {
		m.begin("removing %s", names(dead))
		if err := m.remove(ctx, dead, nil); err != nil {
			return err
		}
		m.done("removed %s, which did not run", names(dead))
	}
	if missing := m.n - len(m.adopted); missing > 0 {
		m.begin("starting %d beside %s", missing, names(now))
		// To the end: it takes a moment, and what is half created could appear after it was looked for.
		flags := slices.Concat([]string{"--no-recreate"}, m.scale(len(now)+missing))
		if err := m.up(context.WithoutCancel(ctx), m.service.name, flags...); err != nil {
			return err
		}
	}
	if err := m.findFresh(ctx); err != nil {
		return err
	}
	if started := without(m.fresh, m.adopted); len(started) > 0 {
		m.done("started %s beside %s", names(started), names(m.old))
	}
	return nil
}

// findFresh looks for the new containers.
func (m *move) findFresh(ctx context.Context) error {
	all, err := m.containers(ctx, m.service.name)
	if err != nil {
		return err
	}
	m.fresh = without(all, m.old)
	if len(m.fresh) < m.n {
		return fmt.Errorf("%d of %d new containers are there, although Compose started them", len(m.fresh), m.n)
	}
	return nil
}

func (m *move) awaitReady(ctx context.Context) error {
	err := m.turn.awaitReady(ctx, m.fresh)
	if err != nil && !errors.Is(err, errInterrupted) {
		m.showLogs(context.WithoutCancel(ctx), m.fresh)
	}
	return err
}

// drainOld has the edge send nothing more to the old containers, and waits until nothing is under way on them. What goes on
// for longer than it may is left to be cut.
func (m *move) drainOld(ctx context.Context) error {
	m.drained = true // also if that fails: the order may have arrived
	left, err := m.drainAndWait(ctx, m.old, drainage{
		sessions: m.r.Sessions, bound: m.drainBound(),
		check: func() error { return m.alive(ctx, m.fresh) },
	})
	if err == nil {
		m.tellDrained(m.old, left)
	}
	return err
}

// finish stops and removes the old containers, by ID: Compose, told to run fewer, would take the new ones.
func (m *move) finish(ctx context.Context) error {
	m.begin("stopping %s", names(m.old))
	err := m.remove(ctx, m.old, m.stopFlags())
	all, unseen := m.containers(ctx, m.service.name)
	if unseen != nil {
		return errors.Join(err, unseen)
	}
	if left := among(all, m.old); len(left) > 0 {
		return &Problem{
			fmt.Errorf("the new containers serve, but old ones are left: %w", errors.Join(err, errors.New(names(left)))),
			"docker rm --force " + strings.Join(ids(left), " "),
		}
	}
	m.done("stopped and removed %s", names(m.old))
	return nil
}
