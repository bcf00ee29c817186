package registry

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// replacementGrace is for how long requests to a known name wait after its last container has gone. When the Docker Engine's
// events are delayed, the end of a container and the start of its successor arrive together, and the edge must still look
// up the successor.
const replacementGrace = time.Second

// Hold returns how long a request may wait for a ready endpoint.
func (s *Service) Hold() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.settings.Hold, 0)
}

// StopHolding ends all waits with [ErrClosed], now and later. Endpoints and claims stay: the process is about to end, and
// requests that have an endpoint may finish.
func (r *Registry) StopHolding() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.services {
		s.mu.Lock()
		s.queue.stop()
		s.mu.Unlock()
	}
}

// Pause makes a request wait although endpoints may be ready, until done is closed: during maintenance, for example. It
// returns nil then. The request counts as held, like one that waits for an endpoint. Pause fails at once if too many requests
// wait ([ErrFull], [ErrClientFull]), when the hold time since start is over ([ErrPauseTimeout]), when the edge stops
// ([ErrClosed]), and with the error of ctx when that ends.
func (s *Service) Pause(ctx context.Context, client netip.Addr, start time.Time, done <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.queueError(client); err != nil {
		return err
	}
	defer s.queue.add(client)()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if s.queue.isStopped {
			return s.newError(ErrClosed, "")
		}
		remaining := time.Until(start.Add(max(s.settings.Hold, 0))) // a reload may have changed Hold
		if remaining <= 0 {
			return s.newError(ErrPauseTimeout, "")
		}
		timer.Reset(remaining)
		if isDone, err := s.queue.wait(ctx, timer, done); isDone || err != nil {
			return err
		}
	}
}

// holdRequest makes a request wait, if an endpoint may become ready in time and the queue has room. The caller holds s.mu.
func (s *Service) holdRequest(ctx context.Context, opts PickOptions) (Claim, error) {
	if err := s.waitError(time.Now()); err != nil {
		return Claim{}, err
	}
	if err := s.queueError(opts.Client); err != nil {
		// The request may be one that would wait for a certain endpoint although another is ready.
		if e := s.pick(PickOptions{Avoid: opts.Avoid, Upgrade: opts.Upgrade}); e != nil {
			return Claim{e: e}, nil
		}
		return Claim{}, err
	}
	defer s.queue.add(opts.Client)()
	return s.waitForEndpoint(ctx, opts)
}

// queueError returns why one more request of a client may not wait, or nil. The caller holds s.mu.
func (s *Service) queueError(client netip.Addr) error {
	waiting, err := s.queue.checkRoom(client, s.settings.MaxHeld, s.settings.MaxHeldPerClient)
	if err != nil {
		return s.newError(err, plural(waiting, "request"))
	}
	return nil
}

// waitForEndpoint holds a request until an endpoint is ready. The caller holds s.mu, which the wait releases.
//
// All requests that wait for a service fail at the same instant, when it has had no ready endpoint for the hold time.
// Requests to a service that is down for longer then fail at once.
func (s *Service) waitForEndpoint(ctx context.Context, opts PickOptions) (Claim, error) {
	opts.ArrivedAt = time.Time{} // the retry budget has counted the request
	timer := time.NewTimer(s.waitTimeout(opts, time.Now()))
	defer timer.Stop()
	for {
		if _, err := s.queue.wait(ctx, timer, nil); err != nil {
			return Claim{}, err
		}
		if claim, ok := s.claim(opts); ok {
			return claim, nil
		}
		now := time.Now()
		if err := s.waitError(now); err != nil {
			return Claim{}, err
		}
		timer.Reset(s.waitTimeout(opts, now)) // an endpoint that was ready meanwhile has moved the deadline
	}
}

// waitTimeout returns how much longer a request may wait, given the present state of the service.
func (s *Service) waitTimeout(opts PickOptions, now time.Time) time.Duration {
	if len(s.ready) > 0 { // the request waits for its preferred endpoint
		return s.r.remainingStartupGrace(now)
	}
	if s.decided && !s.known {
		return min(s.holdDeadline().Sub(now), s.unknownSince.Add(replacementGrace).Sub(now))
	}
	return s.holdDeadline().Sub(now)
}

// holdDeadline returns when waiting requests fail: the hold time after the service last had an endpoint that could take
// requests.
func (s *Service) holdDeadline() time.Time {
	since := s.since
	if s.terminatingServedAt.After(since) {
		since = s.terminatingServedAt
	}
	return since.Add(max(s.settings.Hold, 0))
}

// waitError returns why a request must fail instead of waiting (longer), or nil.
func (s *Service) waitError(now time.Time) error {
	switch {
	case s.queue.isStopped:
		return s.newError(ErrClosed, "")
	case s.decided && !s.known && !now.Before(s.unknownSince.Add(replacementGrace)):
		return s.newError(ErrUnknown, s.problem)
	case len(s.ready) == 0 && !now.Before(s.holdDeadline()):
		return s.newError(ErrDown, s.describeEndpoints(now))
	}
	return nil
}

// describeEndpoints returns the detail of an [ErrDown]: the problem that a source reports, the state of the first endpoint, or
// for how long there has been none.
func (s *Service) describeEndpoints(now time.Time) string {
	if s.problem != "" {
		return s.problem
	}
	for _, e := range s.endpoints {
		return fmt.Sprintf("%s; %s is %s: %s", plural(len(s.endpoints), "endpoint"), e.address, e.state, e.reason)
	}
	return fmt.Sprintf("none for %s", now.Sub(s.since).Round(100*time.Millisecond))
}
