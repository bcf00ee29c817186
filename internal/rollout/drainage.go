package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// drainage is how containers are to be drained.
type drainage struct {
	sessions time.Duration   // for how long requests of sticky sessions may still come
	bound    time.Duration   // for how long the end of what is under way is waited for
	check    func() error    // asked again and again; its error ends the wait. May be nil
	hurry    <-chan struct{} // closed: wait no longer. May be nil
}

// work is what is under way, and how many sessions may send requests; at least one where that is not known.
type work struct{ requests, sockets, sessions int }

func (w work) none() bool { return w.requests == 0 && w.sockets == 0 }

func (w work) String() string {
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
func (t *turn) drainAndWait(ctx context.Context, all []container, d drainage) (work, error) {
	t.begin("draining %s", names(all))
	began := time.Now()
	if err := t.drain(ctx, all, d.sessions); err != nil {
		return work{}, err
	}
	known, err := t.endpointsOf(ctx, all)
	if err != nil {
		return work{}, err
	}
	for {
		left, idle, err := t.underWay(ctx, all, known, max(0, d.sessions-time.Since(began)))
		passed := time.Since(began)
		if idle && (left.sessions == 0 || passed >= d.sessions) {
			return work{}, nil
		}
		if passed >= max(d.bound, d.sessions) {
			return left, err
		}
		if left.none() && passed < d.sessions {
			t.now("draining: sessions may still come for %.0fs to %s", (d.sessions - passed).Seconds(), names(all))
		} else {
			t.now("draining: %s under way on %s", left, names(all))
		}
		if d.check != nil {
			if err := d.check(); err != nil {
				return left, err
			}
		}
		if err := pause(ctx, d.hurry); err != nil {
			return left, err
		}
	}
}

// underWay asks the edge what is under way on containers, of which it knew these endpoints when they began to drain. They
// are idle if nothing is, and they are still draining or gone. An edge that has been started again since has forgotten: it
// is told once more.
func (t *turn) underWay(ctx context.Context, all []container, known []endpoint, sessions time.Duration) (left work, idle bool, err error) {
	now, err := t.containers(ctx, t.service.name)
	if err != nil {
		return work{}, false, err
	}
	found, err := t.endpointsOf(ctx, all)
	if err != nil {
		return work{}, false, err
	}
	for _, e := range found {
		left.requests += e.InFlight
		left.sockets += e.Sockets
		if e.Sessions == nil {
			left.sessions++
		} else {
			left.sessions += *e.Sessions
		}
		if e.State != draining {
			return left, false, t.drain(ctx, all, sessions)
		}
	}
	for _, c := range running(among(now, all)) {
		if knows(known, c) && !knows(found, c) {
			return left, false, fmt.Errorf("the edge doesn't know %s any more", c.Name)
		}
	}
	return left, left.none(), nil
}

// knows reports whether a container is among endpoints.
func knows(all []endpoint, c container) bool {
	for _, e := range all {
		if c.is(e) {
			return true
		}
	}
	return false
}

// undoHint returns the command that undoes the drain of containers.
func (t *turn) undoHint(all []container) string {
	short := make([]string, len(all))
	for i, c := range all {
		short[i] = c.ID[:min(len(c.ID), 12)]
	}
	return "docker compose exec " + t.edge + " edge drain --undo " + strings.Join(short, " ")
}

// drainBound returns how long the end of what is under way is waited for where new requests go elsewhere.
func (t *turn) drainBound() time.Duration {
	if t.r.Drain > 0 {
		return t.r.Drain
	}
	return time.Minute
}

func (t *turn) tellDrained(all []container, left work) {
	if left.none() {
		t.done("drained %s", names(all))
		return
	}
	t.done("drained %s, except for %s, which will be cut", names(all), left)
}
