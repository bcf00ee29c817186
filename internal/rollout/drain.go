package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// drainOptions is how containers are to be drained.
type drainOptions struct {
	sessionGrace time.Duration   // for how long requests of sticky sessions may still come
	timeout      time.Duration   // for how long the end of what is under way is waited for
	check        func() error    // asked again and again; its error ends the wait. May be nil
	forceStop    <-chan struct{} // closed: wait no longer. May be nil
}

// inFlightWork is what is under way, and how many sessions may send requests; at least one where that is not known.
type inFlightWork struct{ requests, sockets, sessions int }

func (w inFlightWork) isIdle() bool { return w.requests == 0 && w.sockets == 0 }

func (w inFlightWork) String() string {
	return fmt.Sprintf("%s and %s", plural(w.requests, "request"), plural(w.sockets, "socket"))
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// drainAndWait has the edge drain containers and waits until nothing is under way on them. For as long as sessions may
// still come it waits if there are any: a request of theirs could arrive at any moment. It returns what is left when the bound
// is over; and an error when ctx ends, the wait is ended by d, or the edge doesn't answer.
func (t *serviceRollout) drainAndWait(ctx context.Context, all []container, d drainOptions) (inFlightWork, error) {
	t.startStep("draining %s", containerNames(all))
	began := time.Now()
	if err := t.drain(ctx, all, d.sessionGrace); err != nil {
		return inFlightWork{}, err
	}
	known, err := t.endpointsOf(ctx, all)
	if err != nil {
		return inFlightWork{}, err
	}
	for {
		left, idle, err := t.pollDrain(ctx, all, known, max(0, d.sessionGrace-time.Since(began)))
		passed := time.Since(began)
		if idle && (left.sessions == 0 || passed >= d.sessionGrace) {
			return inFlightWork{}, nil
		}
		if passed >= max(d.timeout, d.sessionGrace) {
			return left, err
		}
		if left.isIdle() && passed < d.sessionGrace {
			t.updateStep("draining: sessions may still come for %.0fs to %s", (d.sessionGrace - passed).Seconds(), containerNames(all))
		} else {
			t.updateStep("draining: %s under way on %s", left, containerNames(all))
		}
		if d.check != nil {
			if err := d.check(); err != nil {
				return left, err
			}
		}
		if err := waitForNextPoll(ctx, d.forceStop); err != nil {
			return left, err
		}
	}
}

// pollDrain asks the edge what is under way on containers, of which it knew these endpoints when they began to drain. They
// are idle if nothing is, and they are still draining or gone. An edge that has been started again since has forgotten: it
// is told once more.
func (t *serviceRollout) pollDrain(ctx context.Context, all []container, known []endpoint, sessions time.Duration) (left inFlightWork, idle bool, err error) {
	now, err := t.containers(ctx, t.service.name)
	if err != nil {
		return inFlightWork{}, false, err
	}
	found, err := t.endpointsOf(ctx, all)
	if err != nil {
		return inFlightWork{}, false, err
	}
	for _, e := range found {
		left.requests += e.InFlight
		left.sockets += e.Sockets
		if e.Sessions == nil {
			left.sessions++
		} else {
			left.sessions += *e.Sessions
		}
		if e.State != stateDraining {
			return left, false, t.drain(ctx, all, sessions)
		}
	}
	for _, c := range runningContainers(intersection(now, all)) {
		if hasEndpointFor(known, c) && !hasEndpointFor(found, c) {
			return left, false, fmt.Errorf("the edge doesn't know %s any more", c.Name)
		}
	}
	return left, left.isIdle(), nil
}

// hasEndpointFor reports whether a container is among endpoints.
func hasEndpointFor(all []endpoint, c container) bool {
	for _, e := range all {
		if c.matches(e) {
			return true
		}
	}
	return false
}

// undrainHint returns the command that undoes the drain of containers.
func (t *serviceRollout) undrainHint(all []container) string {
	short := make([]string, len(all))
	for i, c := range all {
		short[i] = c.ID[:min(len(c.ID), 12)]
	}
	return "docker compose exec " + t.edge + " edge drain --undo " + strings.Join(short, " ")
}

// drainTimeout returns how long the end of what is under way is waited for where new requests go elsewhere.
func (t *serviceRollout) drainTimeout() time.Duration {
	if t.rollout.DrainTimeout > 0 {
		return t.rollout.DrainTimeout
	}
	return time.Minute
}

func (t *serviceRollout) reportDrained(all []container, left inFlightWork) {
	if left.isIdle() {
		t.finishStep("drained %s", containerNames(all))
		return
	}
	t.finishStep("drained %s, except for %s, which will be cut", containerNames(all), left)
}
