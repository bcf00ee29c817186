package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pollInterval is how often a wait asks Docker and the edge.
const pollInterval = 250 * time.Millisecond

// maxRestarts is how often Docker may restart a new container before the container counts as broken.
const maxRestarts = 3

// logTailLines is how many lines of a failed container's log are printed.
const logTailLines = 15

var errForceStopped = errors.New("interrupted twice")

// unreadyReason is an error that says how a container is not ready, and not that it cannot be found out.
type unreadyReason string

// Error implements error.
func (r unreadyReason) Error() string { return string(r) }

func unready(format string, args ...any) error { return unreadyReason(fmt.Sprintf(format, args...)) }

func isUnready(err error) bool {
	_, ok := errors.AsType[unreadyReason](err)
	return ok
}

// waitForNextPoll waits until it is time to ask again. It returns an error if ctx ends or forceStop is closed before.
func waitForNextPoll(ctx context.Context, forceStop <-chan struct{}) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return errInterrupted
	case <-forceStop:
		return errForceStopped
	}
}

// awaitNewReady waits until the new containers are ready. If they are not, it prints the end of their logs, except for a service
// that was replaced by Compose alone.
func (t *serviceRollout) awaitNewReady(ctx context.Context) error {
	if err := t.findRecreated(ctx); err != nil {
		return err
	}
	err := t.awaitReady(ctx, t.newContainers)
	isProtected := t.plan.strategy == startFirst || t.plan.strategy == stopFirst
	if err != nil && !errors.Is(err, errInterrupted) && isProtected {
		t.showLogs(context.WithoutCancel(ctx), t.newContainers)
	}
	return err
}

// awaitNewRunning checks that the new containers run.
func (t *serviceRollout) awaitNewRunning(ctx context.Context) error {
	if err := t.findRecreated(ctx); err != nil {
		return err
	}
	return t.checkRunning(ctx, t.newContainers)
}

// findRecreated lists the new containers after Compose has replaced all of them.
func (t *serviceRollout) findRecreated(ctx context.Context) (err error) {
	if t.plan.strategy != startFirst {
		t.newContainers, err = t.containers(ctx, t.service.Name)
	}
	return err
}

// awaitReady waits until the edge reports each of the containers ready, on each of its routes to the service.
func (t *serviceRollout) awaitReady(ctx context.Context, all []container) error {
	t.startStep("waiting for %s to be ready", containerNames(all))
	for deadline := time.Now().Add(t.rollout.ReadyTimeout); ; {
		if err := t.checkRunning(ctx, all); err != nil {
			return err
		}
		reasons, err := t.notReadyReasons(ctx, all)
		switch {
		case err == nil && len(reasons) == 0:
			t.finishStep("the edge finds %s ready", containerNames(all))
			return nil
		case time.Now().After(deadline) && err != nil:
			return err
		case time.Now().After(deadline):
			return unready("not ready within %s: %s", t.rollout.ReadyTimeout, strings.Join(reasons, "; "))
		}
		t.updateStep("waiting for %s", strings.Join(reasons, "; "))
		if err := waitForNextPoll(ctx, nil); err != nil {
			return err
		}
	}
}

// checkRunning returns an error if one of the containers has exited, or if Docker restarts it again and again.
func (t *serviceRollout) checkRunning(ctx context.Context, all []container) error {
	current, err := t.containers(ctx, t.service.Name)
	if err != nil {
		return err
	}
	for _, c := range all {
		i := slices.IndexFunc(current, func(other container) bool { return other.ID == c.ID })
		switch {
		case i < 0:
			return unready("%s has been removed by another command", c.Name)
		case !current[i].IsUp() && current[i].State.ExitCode == 0:
			return unready("%s exited with status 0: a service that ends by itself, such as a migration, cannot be rolled out; `docker compose up %s` runs it", c.Name, t.service.Name)
		case !current[i].IsUp():
			return unready("%s exited with status %d", c.Name, current[i].State.ExitCode)
		case current[i].RestartCount-c.RestartCount >= maxRestarts:
			return unready("%s exits again and again, the last time with status %d", c.Name, current[i].State.ExitCode)
		}
	}
	return nil
}

// notReadyReasons returns, for each container that is not ready on a route, the reason.
func (t *serviceRollout) notReadyReasons(ctx context.Context, all []container) (reasons []string, err error) {
	routes, err := t.routes(ctx)
	if err != nil {
		return nil, err
	}
	routes = t.routesTo(t.service, routes)
	if len(routes) == 0 {
		return nil, errors.New("the edge has no route to it any more")
	}
	for _, r := range routes {
		for _, c := range all {
			i := slices.IndexFunc(r.Endpoints, c.matches)
			switch {
			case i < 0:
				reasons = append(reasons, c.Name+" is not known to the edge")
			case r.Endpoints[i].State != stateReady:
				reasons = append(reasons, fmt.Sprintf("%s is %s, %s", c.Name, r.Endpoints[i].State, r.Endpoints[i].Reason))
			}
		}
	}
	return reasons, nil
}

// showLogs prints the last lines of the containers' logs, oldest first.
func (t *serviceRollout) showLogs(ctx context.Context, all []container) {
	for _, c := range all {
		stdout, stderr, err := t.docker.Run(ctx, "logs", "--timestamps", "--tail", "15", c.ID)
		if err != nil {
			t.printLine("the log of %s can't be read: %v", c.Name, err)
			continue
		}
		lines := sortLogLines(stdout + stderr)
		if len(lines) == 0 {
			t.printLine("%s has logged nothing", c.Name)
			continue
		}
		t.printLine("the last that %s logged:", c.Name)
		for _, line := range lines[max(0, len(lines)-logTailLines):] {
			t.printLine("  %s", line)
		}
	}
}

// sortLogLines sorts lines by the timestamps that Docker puts in front, all of one length, and removes these. `docker logs`
// returns a container's two outputs one after the other.
func sortLogLines(text string) []string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
	slices.SortStableFunc(lines, func(a, b string) int {
		aTime, _, _ := strings.Cut(a, " ")
		bTime, _, _ := strings.Cut(b, " ")
		return strings.Compare(aTime, bTime)
	})
	for i, line := range lines {
		_, lines[i], _ = strings.Cut(line, " ")
	}
	return lines
}
