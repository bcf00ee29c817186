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

// turn is the rollout of one service.
type turn struct {
	*stack
	progress
	r       *Rollout
	service service

	oneShots  []string        // services that have to complete first
	ran       map[string]bool // those of them that have, in this rollout
	routed    bool            // the edge has a route to it
	obstacles []string        // why two can't run at once
	existed   []container     // what there is before containers are started or stopped
	n         int             // how many are to run
}

// turn looks at a service and decides how it can be rolled out. It changes nothing.
func (r *Rollout) turn(ctx context.Context, s *stack, service service) (*turn, error) {
	t := &turn{
		stack: s, r: r, service: service, oneShots: oneShots(s.services, service.name),
		progress: progress{w: r.Out, live: r.Live, subject: service.name},
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return nil, &Problem{err, "docker compose exec " + s.edge + " edge status"}
	}
	t.routed = len(s.routesTo(service, routes)) > 0
	if err := t.count(ctx); err != nil {
		return nil, err
	}
	t.obstacles, err = service.obstacles(s.services, t.existed, 2*max(t.n, 1))
	return t, err
}

// count looks which containers there are.
func (t *turn) count(ctx context.Context) (err error) {
	if t.existed, err = t.containers(ctx, t.service.name); err != nil {
		return err
	}
	for _, c := range t.existed {
		if c.State.Status == "paused" {
			return &Problem{fmt.Errorf("%s is paused", c.Name), "docker unpause " + c.Name}
		}
	}
	t.n = most(running(t.existed))
	return nil
}

// announce says what will be different from a rollout without a lost request, and why.
func (t *turn) announce() {
	switch {
	case t.n == 0:
	case !t.routed:
		t.say("the edge has no route to it: its containers are replaced by Compose, without holding anything")
	case len(t.obstacles) > 0:
		t.say("two can't run at once: %s", strings.Join(t.obstacles, "; "))
		t.say("so it is drained, stopped and started, and the edge holds requests meanwhile")
	}
	if t.n > 0 && t.n != t.service.replicas() {
		t.say("%d run and stay %d; the file says %d, to which `docker compose up` would change it", t.n, t.n, t.service.replicas())
	}
}

// run takes the turn.
func (t *turn) run(ctx context.Context) error {
	began := time.Now()
	current, err := t.prepare(ctx)
	if err != nil {
		return interruptedIf(ctx, err)
	}
	switch {
	case current == nil:
		t.say("nothing to do: what runs is what the file says; --force replaces it anyway")
		return nil
	case t.n == 0:
		err = t.plain(ctx, "no container of it runs")
	case !t.routed:
		err = t.plain(ctx, "replacing")
	case len(t.obstacles) > 0:
		err = t.inPlace(ctx)
	default:
		err = t.beside(ctx, *current)
	}
	if err == nil {
		t.say("done in %.1fs", time.Since(began).Seconds())
	}
	return err
}

// prepare gets images and runs what has to complete first. It returns the version to roll out to, and nil if that is what
// runs.
func (t *turn) prepare(ctx context.Context) (*version, error) {
	if err := t.fetch(ctx, slices.Concat(t.oneShots, []string{t.service.name})); err != nil {
		return nil, err
	}
	want, err := t.want(ctx, t.service.name)
	if err != nil {
		return nil, err
	}
	if err := t.count(ctx); err != nil {
		return nil, err
	}
	if !t.r.Force && len(t.existed) > 0 && len(ofVersion(running(t.existed), want)) == len(t.existed) {
		return nil, nil
	}
	for _, name := range t.oneShots {
		if err := t.foresee(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := t.foresee(ctx, t.service.name, t.scale(len(t.existed))...); err != nil {
		return nil, err
	}
	if err := t.runOneShots(ctx); err != nil {
		return nil, err
	}
	return &want, t.count(ctx)
}

// scale returns the flags of Compose that have so many containers run, however many the file says; none for 0.
func (t *turn) scale(n int) []string {
	if n == 0 {
		return nil
	}
	return []string{"--scale", t.service.name + "=" + strconv.Itoa(n)}
}

// stopFlags returns the flags of docker that bound the time a container may take to stop.
func (t *turn) stopFlags() []string {
	if t.r.Stop == 0 {
		return nil
	}
	return []string{"-t", seconds(t.r.Stop)}
}

// seconds returns a duration in whole seconds, rounded up, as docker takes them.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// ofVersion returns the containers that are of a version.
func ofVersion(all []container, want version) (same []container) {
	for _, c := range all {
		if c.version() == want {
			same = append(same, c)
		}
	}
	return same
}

// interruptedIf replaces an error by what caused it, if that was the end of ctx.
func interruptedIf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errInterrupted) {
		return errInterrupted
	}
	return err
}
