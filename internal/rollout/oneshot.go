package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// oneShotDependencies returns the services that have to complete before the named one starts, such as migrations, in the order in
// which they depend on each other.
func oneShotDependencies(s *compose.Stack, name string) []string {
	var names []string
	dependencies := s.Services[name].DependsOn
	for _, on := range slices.Sorted(maps.Keys(dependencies)) {
		if s.Services[on] == nil || !dependencies[on].IsOneShot() {
			continue
		}
		for _, dependency := range append(oneShotDependencies(s, on), on) {
			if !slices.Contains(names, dependency) {
				names = append(names, dependency)
			}
		}
	}
	return names
}

// runOneShot starts a one-shot service anew and waits until it exits, however long that takes. When ctx ends, it leaves the
// container running: an aborted migration is worse than one that nobody waits for.
func (t *serviceRollout) runOneShot(ctx context.Context, name string) error {
	before, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	if running := runningContainers(before); len(running) > 0 {
		return hint.New(
			fmt.Errorf("%s, which has to complete first, runs already", containerNames(running)),
			"wait for its end: docker wait "+running[0].Name,
		)
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
			return fmt.Errorf("%s: its container has been removed by another command", name)
		}
		if c := all[0]; !c.IsUp() && c.State.Status != "created" {
			return t.checkExitStatus(ctx, name, c)
		}
		if err := waitForNextPoll(ctx, nil); err != nil {
			return fmt.Errorf("%w; %s goes on, and the rollout does not wait for it", err, all[0].Name)
		}
	}
}

// checkExitStatus returns an error if a one-shot service has failed, and prints the end of its log.
func (t *serviceRollout) checkExitStatus(ctx context.Context, name string, c container) error {
	if c.State.ExitCode == 0 {
		t.finishStep("%s has completed", name)
		return nil
	}
	t.showLogs(ctx, []container{c})
	return fmt.Errorf("%s exited with status %d; nothing else was changed", name, c.State.ExitCode)
}
