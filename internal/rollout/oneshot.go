package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// poll is how often the state of things is asked for.
const poll = 250 * time.Millisecond

// runOneShots runs the services that have to complete before this one starts, such as migrations, each once in a rollout.
// The old containers serve meanwhile.
func (t *turn) runOneShots(ctx context.Context) error {
	for _, name := range t.oneShots {
		if t.ran[name] {
			continue
		}
		if err := t.runOneShot(ctx, name); err != nil {
			return err
		}
		t.ran[name] = true
	}
	return nil
}

// runOneShot starts a service anew and waits for its end, however long it takes. When ctx ends it is left alone: half a
// migration is worse than one that nobody waits for.
func (t *turn) runOneShot(ctx context.Context, name string) error {
	before, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	if now := running(before); len(now) > 0 {
		return &Problem{
			fmt.Errorf("%s, which has to complete first, runs already", names(now)),
			"wait for its end: docker wait " + now[0].Name,
		}
	}
	t.begin("running %s", name)
	if err := t.up(context.WithoutCancel(ctx), name, "--force-recreate"); err != nil {
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
		if !has(running(all), all[0].ID) && all[0].State.Status != "created" {
			return t.completed(ctx, name, all[0])
		}
		if err := pause(ctx, nil); err != nil {
			return fmt.Errorf("%w; %s goes on, and nobody waits for it", err, all[0].Name)
		}
	}
}

// completed judges a one-shot service by its exit status.
func (t *turn) completed(ctx context.Context, name string, c container) error {
	if c.State.ExitCode == 0 {
		t.done("%s has completed", name)
		return nil
	}
	t.showLogs(ctx, []container{c})
	return fmt.Errorf("%s exited with status %d; nothing else was changed", name, c.State.ExitCode)
}

// pause waits until things are worth asking for again, ctx ends, or hurry is closed.
func pause(ctx context.Context, hurry <-chan struct{}) error {
	select {
	case <-time.After(poll):
		return nil
	case <-ctx.Done():
		return errInterrupted
	case <-hurry:
		return errHurried
	}
}

var errHurried = errors.New("interrupted twice")
