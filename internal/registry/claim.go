package registry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Claim is one request's hold on one endpoint. It stays valid whatever becomes of the endpoint, the service or the
// configuration, until [Claim.Release]. The zero Claim claims nothing.
type Claim struct{ e *Endpoint }

// Endpoint returns what was claimed.
func (c Claim) Endpoint() *Endpoint { return c.e }

// Release ends the claim. Call it once.
func (c Claim) Release() {
	s := c.e.service
	s.mu.Lock()
	c.e.inFlight--
	over := c.e.state == Gone && c.e.inFlight == 0
	s.mu.Unlock()
	if over && c.e.link != nil {
		c.e.link.Close() // a connection that came back after the endpoint was removed
	}
}

// Refused reports that the endpoint could not be dialled: nothing listens there, or nobody answers. It leaves
// rotation at once, its probe looks again, and sources that can be asked are asked.
func (c Claim) Refused(reason string) {
	e := c.e
	e.service.mu.Lock()
	if e.verdict == Ready && e.state != Gone && e.stopProbe != nil { // without a probe, nothing would bring it back
		e.verdict, e.finding = Failing, reason
		e.settle()
	}
	e.service.mu.Unlock()
	e.poke()
	e.service.r.nudge(e.service.host)
}

// Acquire claims an endpoint for a request: the less busy of two random ready ones, other than avoid if there is
// another. With none ready it waits for one, until ctx ends, the service has had none for its hold time ([ErrDown]),
// or at once if too many wait ([ErrFull]) or no container is known ([ErrUnknown]). Its cost does not depend on how
// many services and endpoints there are.
//
// The request is counted on the endpoint under the same lock that takes endpoints out of rotation, so that none
// slips in after a drain has begun.
func (s *Service) Acquire(ctx context.Context, avoid *Endpoint) (Claim, error) {
	s.mu.Lock()
	if e := s.pick(avoid); e != nil {
		s.mu.Unlock()
		return Claim{e}, nil
	}
	defer s.mu.Unlock()
	if err := s.hopeless(time.Now()); err != nil {
		return Claim{}, err
	}
	if s.held >= s.settings.MaxHeld {
		return Claim{}, s.errName(ErrFull, plural(s.held, "request"))
	}
	s.held++
	defer func() { s.held-- }()
	return s.wait(ctx, avoid)
}

// pick chooses among the ready endpoints and counts the request. The caller holds s.mu.
func (s *Service) pick(avoid *Endpoint) *Endpoint {
	n := len(s.ready)
	if n == 0 {
		return nil
	}
	e := s.ready[0]
	if n > 1 {
		i := rand.IntN(n)
		j := rand.IntN(n - 1)
		if j >= i {
			j++
		}
		e = s.ready[i]
		if other := s.ready[j]; e == avoid || other != avoid && other.inFlight < e.inFlight {
			e = other
		}
	}
	e.inFlight++
	e.requests++
	return e
}
