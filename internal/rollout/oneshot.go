package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollInterval is how often the state of things is asked for.
const pollInterval = 250 * time.Millisecond

// runOneShots runs the services that have to complete before this one starts, such as migrations, each once in a rollout.
// The old containers serve meanwhile.
func (t *serviceRollout) runOneShots(ctx context.Context) error {
	for _, name := range t.oneShots {
		if t.completedOneShots[name] {
			continue
		}
		if err := t.runOneShot(ctx, name); err != nil {
			return err
		}
		t.completedOneShots[name] = true
	}
	return nil
}

// runOneShot starts a service anew and waits for its end, however long it takes. When ctx ends it is left alone: half a
// migration is worse than one that nobody waits for.
func (t *serviceRollout) runOneShot(ctx context.Context, name string) error {
	before, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	if now := runningContainers(before); len(now) > 0 {
		return &HintError{
			fmt.Errorf("%s, which has to complete first, runs already", containerNames(now)),
			"wait for its end: docker wait " + now[0].Name,
		}
	}
	t.startStep("running %s", name)
	if err := t.composeUp(context.WithoutCancel(ctx), name, "--force-recreate"); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	for {
		all, err := t.containers(ctx, name)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("%s: its container has been removed by somebody else", name)
		}
		if !containsID(runningContainers(all), all[0].ID) && all[0].State.Status != "created" {
			return t.checkExitStatus(ctx, name, all[0])
		}
		if err := waitForNextPoll(ctx, nil); err != nil {
			return fmt.Errorf("%w; %s goes on, and nobody waits for it", err, all[0].Name)
		}
	}
}

// checkExitStatus judges a one-shot service by its exit status.
func (t *serviceRollout) checkExitStatus(ctx context.Context, name string, c container) error {
	if c.State.ExitCode == 0 {
		t.finishStep("%s has completed", name)
		return nil
	}
	t.showLogs(ctx, []container{c})
	return fmt.Errorf("%s exited with status %d; nothing else was changed", name, c.State.ExitCode)
}

// waitForNextPoll waits until things are worth asking for again, ctx ends, or hurry is closed.
func waitForNextPoll(ctx context.Context, hurry <-chan struct{}) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return errInterrupted
	case <-hurry:
		return errForceStopped
	}
}

var errForceStopped = errors.New("interrupted twice")
