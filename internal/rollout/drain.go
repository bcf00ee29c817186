package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// drainOptions says how to drain containers.
type drainOptions struct {
	sessionGrace time.Duration   // how long the containers still get the requests of their sticky sessions
	timeout      time.Duration   // how long requests and sockets may take to end
	keepWaiting  func() error    // called at each poll; an error ends the wait. May be nil
	forceStop    <-chan struct{} // ends the wait when it is closed. May be nil
}

// inFlightWork counts the requests and sockets on containers, and the sessions that may send further requests: at least one if the
// edge does not report sessions.
type inFlightWork struct{ requests, sockets, sessions int }

func (w inFlightWork) isIdle() bool { return w.requests == 0 && w.sockets == 0 }

// String says how many requests and sockets there are.
func (w inFlightWork) String() string {
	return fmt.Sprintf("%s and %s", plural(w.requests, "request"), plural(w.sockets, "socket"))
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// drainAndWait has the edge drain containers and waits until they are idle, and other edges drain them, too. While they have sessions, or may have
// some by other edges, it waits for the whole session grace, because a session can send a request at any moment. It returns the work that is left when
// the timeout is over. It returns an error if ctx ends, d ends the wait, or the edge does not answer.
func (t *serviceRollout) drainAndWait(ctx context.Context, all []container, d drainOptions) (inFlightWork, error) {
	t.startStep("draining %s", containerNames(all))
	start := time.Now()
	if err := t.requestDrain(ctx, all, d.sessionGrace); err != nil {
		return inFlightWork{}, err
	}
	known, err := t.endpointsOf(ctx, all)
	if err != nil {
		return inFlightWork{}, err
	}
	for {
		left, idle, err := t.pollDrain(ctx, all, known, max(0, d.sessionGrace-time.Since(start)))
		elapsed := time.Since(start)
		sessionsFor := d.sessionGrace - elapsed
		if !t.sharedAt.IsZero() {
			sessionsFor = time.Until(t.sharedAt) + d.sessionGrace
		}
		hasNoSessions := left.sessions == 0 && t.sharedAt.IsZero()
		if idle && (hasNoSessions || sessionsFor <= 0) {
			return inFlightWork{}, nil
		}
		if elapsed >= d.timeout && sessionsFor <= 0 {
			return left, err
		}
		switch {
		case left.isIdle() && sessionsFor > 0:
			t.updateStep("draining: sessions may still come for %.0fs to %s", sessionsFor.Seconds(), containerNames(all))
		default:
			t.updateStep("draining: %s under way on %s", left, containerNames(all))
		}
		if d.keepWaiting != nil {
			if err := d.keepWaiting(); err != nil {
				return left, err
			}
		}
		if err := waitForNextPoll(ctx, d.forceStop); err != nil {
			return left, err
		}
	}
}

// requestDrain has the edge drain containers, and sets t.sharedAt. It prints once that other edges were not notified.
func (t *serviceRollout) requestDrain(ctx context.Context, all []container, sessions time.Duration) error {
	sharedAt, notShared, err := t.drain(ctx, all, sessions)
	if err != nil {
		return err
	}
	t.sharedAt = sharedAt
	if notShared != "" && !t.isNotShared {
		t.isNotShared = true
		t.printLine("other edges that share the storage were not notified of the drain: %s", notShared)
	}
	return nil
}

// requestUndrain has the edge send requests to the containers again. It is an error if other edges were notified of the drain, and not of its end.
func (t *serviceRollout) requestUndrain(ctx context.Context, all []container) error {
	notShared, err := t.undrain(ctx, all)
	if err == nil && notShared != "" && !t.isNotShared {
		err = fmt.Errorf("other edges that share the storage still drain them: %s", notShared)
	}
	return err
}

// pollDrain asks the edge for the work on containers, of which it had the known endpoints when the drain began. They are idle if
// there is no work, and each is still draining or has been removed. An edge that has restarted does not know of the drain, so
// pollDrain requests it again.
func (t *serviceRollout) pollDrain(ctx context.Context, all []container, known []endpoint, sessions time.Duration) (left inFlightWork, idle bool, err error) {
	current, err := t.containers(ctx, t.service.Name)
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
			return left, false, t.requestDrain(ctx, all, sessions)
		}
	}
	for _, c := range runningContainers(intersection(current, all)) {
		if hasEndpointFor(known, c) && !hasEndpointFor(found, c) {
			return left, false, fmt.Errorf("the edge doesn't know %s any more", c.Name)
		}
	}
	return left, left.isIdle(), nil
}

// hasEndpointFor reports whether one of the endpoints is the container.
func hasEndpointFor(all []endpoint, c container) bool {
	for _, e := range all {
		if c.matches(e) {
			return true
		}
	}
	return false
}

// undrainHint returns the command that ends the drain of containers.
func (t *serviceRollout) undrainHint(all []container) string {
	short := make([]string, len(all))
	for i, c := range all {
		short[i] = c.ID[:min(len(c.ID), 12)]
	}
	return t.edge.command("drain --undo " + strings.Join(short, " "))
}

// reportDrained prints that containers are drained, and what Docker will abort when it stops them.
func (t *serviceRollout) reportDrained(all []container, left inFlightWork) {
	if left.isIdle() {
		t.finishStep("drained %s", containerNames(all))
		return
	}
	t.finishStep("drained %s, except for %s, which will be cut", containerNames(all), left)
}
