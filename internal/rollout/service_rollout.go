package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serviceRollout is the rollout of one service.
type serviceRollout struct {
	*stack
	progress
	rollout *Rollout
	service service

	oneShots          []string        // services that have to complete first
	completedOneShots map[string]bool // those of them that have, in this rollout
	hasRoute          bool            // the edge has a route to it
	conflicts         []string        // why two can't run at once
	existing          []container     // what there is before containers are started or stopped
	targetReplicas    int             // how many are to run
}

// planService looks at a service and decides how it can be rolled out. It changes nothing.
func (r *Rollout) planService(ctx context.Context, s *stack, service service) (*serviceRollout, error) {
	t := &serviceRollout{
		stack: s, rollout: r, service: service, oneShots: oneShotDependencies(s.services, service.name),
		progress: progress{out: r.Out, isTerminal: r.IsTerminal, prefix: service.name},
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, &HintError{err, "docker compose exec " + s.edge + " edge status"}
	}
	t.hasRoute = len(s.routesTo(service, routes)) > 0
	if err := t.inspectContainers(ctx); err != nil {
		return nil, err
	}
	t.conflicts, err = service.conflicts(s.services, t.existing, 2*max(t.targetReplicas, 1))
	return t, err
}

// inspectContainers looks which containers there are.
func (t *serviceRollout) inspectContainers(ctx context.Context) (err error) {
	if t.existing, err = t.containers(ctx, t.service.name); err != nil {
		return err
	}
	for _, c := range t.existing {
		if c.State.Status == "paused" {
			return &HintError{fmt.Errorf("%s is paused", c.Name), "docker unpause " + c.Name}
		}
	}
	t.targetReplicas = largestVersionGroup(runningContainers(t.existing))
	return nil
}

// announce says what will be different from a rollout without a lost request, and why.
func (t *serviceRollout) announce() {
	switch {
	case t.targetReplicas == 0:
	case !t.hasRoute:
		t.printLine("the edge has no route to it: its containers are replaced by Compose, without holding anything")
	case len(t.conflicts) > 0:
		t.printLine("two can't run at once: %s", strings.Join(t.conflicts, "; "))
		t.printLine("so it is drained, stopped and started, and the edge holds requests meanwhile")
	}
	if t.targetReplicas > 0 && t.targetReplicas != t.service.replicas() {
		t.printLine("%d run and stay %d; the file says %d, to which `docker compose up` would change it", t.targetReplicas, t.targetReplicas, t.service.replicas())
	}
}

// run takes the turn.
func (t *serviceRollout) run(ctx context.Context) error {
	began := time.Now()
	current, err := t.prepare(ctx)
	if err != nil {
		return errorOrInterrupted(ctx, err)
	}
	switch {
	case current == nil:
		t.printLine("nothing to do: what runs is what the file says; --force replaces it anyway")
		return nil
	case t.targetReplicas == 0:
		err = t.recreateWithoutDrain(ctx, "no container of it runs")
	case !t.hasRoute:
		err = t.recreateWithoutDrain(ctx, "replacing")
	case len(t.conflicts) > 0:
		err = t.stopFirst(ctx)
	default:
		err = t.startFirst(ctx, *current)
	}
	if err == nil {
		t.printLine("done in %.1fs", time.Since(began).Seconds())
	}
	return err
}

// prepare gets images and runs what has to complete first. It returns the version to roll out to, and nil if that is what
// runs.
func (t *serviceRollout) prepare(ctx context.Context) (*version, error) {
	if err := t.fetchImages(ctx, slices.Concat(t.oneShots, []string{t.service.name})); err != nil {
		return nil, err
	}
	want, err := t.desiredVersion(ctx, t.service.name)
	if err != nil {
		return nil, err
	}
	if err := t.inspectContainers(ctx); err != nil {
		return nil, err
	}
	if !t.rollout.Force && len(t.existing) > 0 && len(filterByVersion(runningContainers(t.existing), want)) == len(t.existing) {
		return nil, nil
	}
	for _, name := range t.oneShots {
		if err := t.dryRunUp(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := t.dryRunUp(ctx, t.service.name, t.scaleFlags(len(t.existing))...); err != nil {
		return nil, err
	}
	if err := t.runOneShots(ctx); err != nil {
		return nil, err
	}
	return &want, t.inspectContainers(ctx)
}

// scaleFlags returns the flags of Compose that have so many containers run, however many the file says; none for 0.
func (t *serviceRollout) scaleFlags(n int) []string {
	if n == 0 {
		return nil
	}
	return []string{"--scale", t.service.name + "=" + strconv.Itoa(n)}
}

// stopFlags returns the flags of docker that bound the time a container may take to stop.
func (t *serviceRollout) stopFlags() []string {
	if t.rollout.StopTimeout == 0 {
		return nil
	}
	return []string{"-t", seconds(t.rollout.StopTimeout)}
}

// seconds returns a duration in whole seconds, rounded up, as docker takes them.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// filterByVersion returns the containers that are of a version.
func filterByVersion(all []container, want version) (same []container) {
	for _, c := range all {
		if c.version() == want {
			same = append(same, c)
		}
	}
	return same
}

// errorOrInterrupted replaces an error by what caused it, if that was the end of ctx.
func errorOrInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errInterrupted) {
		return errInterrupted
	}
	return err
}
