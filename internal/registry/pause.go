package registry

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrPauseTimeout is why [Service.Pause] gives up.
var ErrPauseTimeout = errors.New("its requests wait for too long")

// Pause has a request wait although there may be ready endpoints, because somebody wants it to, until over is closed. It
// counts as held like one that waits for an endpoint, and fails at once if too many are ([ErrFull], [ErrClientFull]); after the hold time, from
// began on ([ErrPauseTimeout]); when the edge stops ([ErrClosed]); or with ctx.
func (s *Service) Pause(ctx context.Context, client netip.Addr, began time.Time, over <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fullError(client); err != nil {
		return err
	}
	defer s.addHeld(client)()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if s.closed || s.holdingStopped {
			return s.newError(ErrClosed, "")
		}
		left := time.Until(began.Add(max(s.settings.Hold, 0))) // which a reload may have changed
		if left <= 0 {
			return s.newError(ErrPauseTimeout, "")
		}
		timer.Reset(left)
		wake := s.wake
		s.mu.Unlock()
		var err error
		ended := false
		select {
		case <-over:
			ended = true
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if ended || err != nil {
			return err
		}
	}
}

// CloseSockets has the service's open sockets closed, spread over the close window, for a reason such as "maintenance". Those that are
// opened later stay.
func (s *Service) CloseSockets(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		if e.conns != nil {
			e.conns.CloseExisting(s.settings.CloseWindow, reason)
		}
	}
}

// CloseSockets has a service's open sockets closed, as [Service.CloseSockets] does. A service that is not declared has none.
func (r *Registry) CloseSockets(service, reason string) {
	r.mu.Lock()
	s := r.services[service]
	r.mu.Unlock()
	if s != nil {
		s.CloseSockets(reason)
	}
}
