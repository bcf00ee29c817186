package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRestarts is how often a new container may be started again by Docker before it counts as broken.
const maxRestarts = 3

// awaitNewReady waits until the edge finds each of the containers ready, on each of its routes to the service.
func (t *serviceRollout) awaitReady(ctx context.Context, all []container) error {
	t.startStep("waiting for %s to be ready", containerNames(all))
	for deadline := time.Now().Add(t.rollout.ReadyTimeout); ; {
		if err := t.checkRunning(ctx, all); err != nil {
			return err
		}
		waiting, err := t.notReadyReasons(ctx, all)
		switch {
		case err == nil && len(waiting) == 0:
			t.finishStep("the edge finds %s ready", containerNames(all))
			return nil
		case time.Now().After(deadline) && err != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("not ready within %s: %s", t.rollout.ReadyTimeout, strings.Join(waiting, "; "))
		}
		t.updateStep("waiting for %s", strings.Join(waiting, "; "))
		if err := waitForNextPoll(ctx, nil); err != nil {
			return err
		}
	}
}

// checkRunning returns an error if one of the containers has ended, or goes on being started again.
func (t *serviceRollout) checkRunning(ctx context.Context, all []container) error {
	now, err := t.containers(ctx, t.service.name)
	if err != nil {
		return err
	}
	for _, c := range all {
		i := slices.IndexFunc(now, func(other container) bool { return other.ID == c.ID })
		switch {
		case i < 0:
			return fmt.Errorf("%s has been removed by somebody else", c.Name)
		case !now[i].isUp():
			return fmt.Errorf("%s exited with status %d", c.Name, now[i].State.ExitCode)
		case now[i].RestartCount-c.RestartCount >= maxRestarts:
			return fmt.Errorf("%s exits again and again, the last time with status %d", c.Name, now[i].State.ExitCode)
		}
	}
	return nil
}

// notReadyReasons says of each of the containers that is not ready on a route why it isn't.
func (t *serviceRollout) notReadyReasons(ctx context.Context, all []container) (waiting []string, err error) {
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
				waiting = append(waiting, c.Name+" is not known to the edge")
			case r.Endpoints[i].State != stateReady:
				waiting = append(waiting, fmt.Sprintf("%s is %s, %s", c.Name, r.Endpoints[i].State, r.Endpoints[i].Reason))
			}
		}
	}
	return waiting, nil
}
