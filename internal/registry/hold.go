package registry

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// holdRequest lets a request wait if there is hope, and room. The caller holds s.mu.
func (s *Service) holdRequest(ctx context.Context, w PickOptions) (Claim, error) {
	if err := s.waitError(time.Now()); err != nil {
		return Claim{}, err
	}
	if err := s.fullError(w.Client); err != nil {
		if e := s.pick(PickOptions{Avoid: w.Avoid, Upgrade: w.Upgrade}); e != nil {
			return Claim{e: e}, nil // it would have waited for another one only
		}
		return Claim{}, err
	}
	defer s.addHeld(w.Client)()
	return s.wait(ctx, w)
}

// fullError returns why one more request of a client may not wait, or nil. The caller holds s.mu.
func (s *Service) fullError(client netip.Addr) error {
	if s.held >= s.settings.MaxHeld {
		return s.newError(ErrFull, plural(s.held, "request"))
	}
	if most := s.settings.MaxHeldPerClient; most > 0 && client.IsValid() && s.heldBy[client] >= most {
		return s.newError(ErrClientFull, plural(most, "request"))
	}
	return nil
}

// addHeld counts a request that waits, until the returned function is called. The caller holds s.mu, both times.
func (s *Service) addHeld(client netip.Addr) (leave func()) {
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
func (s *Service) wait(ctx context.Context, w PickOptions) (Claim, error) {
	w.ArrivedAt = time.Time{} // it is counted
	timer := time.NewTimer(s.waitTimeout(w, time.Now()))
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
		if err := s.waitError(now); err != nil {
			return Claim{}, err
		}
		timer.Reset(s.waitTimeout(w, now)) // an endpoint that was ready in between moves the end
	}
}

// waitTimeout returns how long a request may go on waiting, as things stand.
func (s *Service) waitTimeout(w PickOptions, now time.Time) time.Duration {
	if len(s.ready) > 0 { // it waits for another one
		return s.r.remainingStartupGrace(now)
	}
	if s.decided && !s.known {
		return min(s.holdDeadline().Sub(now), s.unknownSince.Add(replacementGrace).Sub(now))
	}
	return s.holdDeadline().Sub(now)
}

// replacementGrace is for how long a name that was known may be nobody's before requests to it fail. Events that were held up tell of a
// container's end and of its successor's beginning one after the other, and the latter is looked up first.
const replacementGrace = time.Second

// holdDeadline returns when waiting ends: the hold time after the last endpoint that could take requests.
func (s *Service) holdDeadline() time.Time {
	since := s.since
	if s.terminatingServedAt.After(since) {
		since = s.terminatingServedAt
	}
	return since.Add(max(s.settings.Hold, 0))
}

// waitError returns why waiting would be in vain, or nil.
func (s *Service) waitError(now time.Time) error {
	switch {
	case s.closed || s.holdingStopped:
		return s.newError(ErrClosed, "")
	case s.decided && !s.known && !now.Before(s.unknownSince.Add(replacementGrace)):
		return s.newError(ErrUnknown, s.problem)
	case len(s.ready) == 0 && !now.Before(s.holdDeadline()):
		return s.newError(ErrDown, s.describeEndpoints(now))
	}
	return nil
}

// describeEndpoints says in words how the endpoints are.
func (s *Service) describeEndpoints(now time.Time) string {
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
	known := r.knownNames()
	const most = 12
	if len(known) > most {
		known = append(known[:most], "…")
	}
	if len(known) == 0 {
		return err.Error() + " (no container is known at all)"
	}
	return err.Error() + " (known: " + strings.Join(known, ", ") + ")"
}
