package registry

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// queue lets a request wait if there is hope, and room. The caller holds s.mu.
func (s *Service) queue(ctx context.Context, w Want) (Claim, error) {
	if err := s.hopeless(time.Now()); err != nil {
		return Claim{}, err
	}
	if err := s.full(w.Client); err != nil {
		if e := s.pick(Want{Avoid: w.Avoid, Upgrade: w.Upgrade}); e != nil {
			return Claim{e: e}, nil // it would have waited for another one only
		}
		return Claim{}, err
	}
	defer s.enqueue(w.Client)()
	return s.wait(ctx, w)
}

// full returns why one more request of a client may not wait, or nil. The caller holds s.mu.
func (s *Service) full(client netip.Addr) error {
	if s.held >= s.settings.MaxHeld {
		return s.errName(ErrFull, plural(s.held, "request"))
	}
	if most := s.settings.MaxHeldPerClient; most > 0 && client.IsValid() && s.heldBy[client] >= most {
		return s.errName(ErrClientFull, plural(most, "request"))
	}
	return nil
}

// enqueue counts a request that waits, until the returned function is called. The caller holds s.mu, both times.
func (s *Service) enqueue(client netip.Addr) (leave func()) {
	s.held++
	if client.IsValid() {
		s.heldBy[client]++
	}
	return func() {
		s.held--
		if client.IsValid() {
			if s.heldBy[client]--; s.heldBy[client] == 0 {
				delete(s.heldBy, client)
			}
		}
	}
}

// wait holds a request until an endpoint is ready. The caller holds s.mu, and holds it again when wait returns.
//
// All who wait for a service give up at the same instant, when it has had no ready endpoint for the hold time: one
// that is down for good then fails fast.
func (s *Service) wait(ctx context.Context, w Want) (Claim, error) {
	w.At = time.Time{} // it is counted
	timer := time.NewTimer(s.patience(w, time.Now()))
	defer timer.Stop()
	for {
		wake := s.wake
		s.mu.Unlock()
		var err error
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return Claim{}, err
		}
		if claim, ok := s.claim(w); ok {
			return claim, nil
		}
		now := time.Now()
		if err := s.hopeless(now); err != nil {
			return Claim{}, err
		}
		timer.Reset(s.patience(w, now)) // an endpoint that was ready in between moves the end
	}
}

// patience returns how long a request may go on waiting, as things stand.
func (s *Service) patience(w Want, now time.Time) time.Duration {
	if len(s.ready) > 0 { // it waits for another one
		return s.r.youth(now)
	}
	if s.decided && !s.known {
		return min(s.deadline().Sub(now), s.unknown.Add(between).Sub(now))
	}
	return s.deadline().Sub(now)
}

// between is for how long a name that was known may be nobody's before requests to it fail. Events that were held up tell of a
// container's end and of its successor's beginning one after the other, and the latter is looked up first.
const between = time.Second

// deadline returns when waiting ends: the hold time after the last endpoint that could take requests.
func (s *Service) deadline() time.Time {
	since := s.since
	if s.servedAt.After(since) {
		since = s.servedAt
	}
	return since.Add(max(s.settings.Hold, 0))
}

// hopeless returns why waiting would be in vain, or nil.
func (s *Service) hopeless(now time.Time) error {
	switch {
	case s.closed || s.abandoned:
		return s.errName(ErrClosed, "")
	case s.decided && !s.known && !now.Before(s.unknown.Add(between)):
		return s.errName(ErrUnknown, s.problem)
	case len(s.ready) == 0 && !now.Before(s.deadline()):
		return s.errName(ErrDown, s.situation(now))
	}
	return nil
}

// situation says in words how the endpoints are.
func (s *Service) situation(now time.Time) string {
	if s.problem != "" {
		return s.problem
	}
	for _, e := range s.endpoints {
		return fmt.Sprintf("%s; %s is %s: %s", plural(len(s.endpoints), "endpoint"), e.address, e.state, e.reason)
	}
	return fmt.Sprintf("none for %s", now.Sub(s.since).Round(100*time.Millisecond))
}

// Explain adds to an [ErrUnknown] the names that are known, so that a typing error shows itself. Other errors are
// returned as they are. It is not for the request path.
func (r *Registry) Explain(err error) string {
	known := r.known()
	const most = 12
	if len(known) > most {
		known = append(known[:most], "…")
	}
	if len(known) == 0 {
		return err.Error() + " (no container is known at all)"
	}
	return err.Error() + " (known: " + strings.Join(known, ", ") + ")"
}
