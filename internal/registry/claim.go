package registry

import (
	"context"
	"net/netip"
	"time"
)

// Claim is one request's hold on one endpoint, or that of the socket it became. It stays valid whatever becomes of the
// endpoint, the service or the configuration, until [Claim.Release]. The zero Claim claims nothing.
type Claim struct {
	e        *Endpoint
	upgraded bool
}

// Endpoint returns what was claimed.
func (c Claim) Endpoint() *Endpoint { return c.e }

// Upgrade turns the claim of a request into that of the socket which an upgrade made of it, and returns that. Release the
// returned claim, not this one.
func (c Claim) Upgrade() Claim {
	s := c.e.service
	s.mu.Lock()
	defer s.mu.Unlock()
	c.e.inFlight--
	c.e.sockets++
	return Claim{e: c.e, upgraded: true}
}

// Release ends the claim. Call it once.
func (c Claim) Release() {
	e := c.e
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	if c.upgraded {
		e.sockets--
	} else {
		e.inFlight--
	}
	if e.removedReason != "" && e.isIdle() {
		e.service.finishRemoval(e)
	}
}

// ReportDialError reports that the endpoint could not be dialled: nothing listens there, or nobody answers. It leaves
// rotation at once, its probe looks again, and sources that can be asked are asked.
func (c Claim) ReportDialError(reason string) {
	e := c.e
	e.service.mu.Lock()
	e.markStopObserved()
	if e.probeState == Ready && e.state != Gone && e.stopProbe != nil { // without a probe, nothing would bring it back
		e.probeState, e.probeReason = Failing, reason
		e.updateState()
	}
	bySource := e.source
	e.service.mu.Unlock()
	e.checkNow()
	e.service.r.requestLookup(e.service.host)
	if bySource == Engine {
		e.service.r.requestPing()
	}
}

// PickOptions is what a request asks of the endpoint that it is given. The zero Want takes any.
type PickOptions struct {
	// Avoid is where it has been: another one is taken, if there is another.
	Avoid []*Endpoint
	// Session is the identity of the endpoint that holds the request's session, which no other knows. It is taken while it
	// is ready, and while it drains.
	Session string
	// Prefer is the identity of the endpoint that the request should go to, but need not. It is taken while it is ready.
	Prefer string
	// Upgrade tells that the request may become a socket, so that open sockets count as work too.
	Upgrade bool
	// Replayable tells that the request may be sent again if it is not answered.
	Replayable bool
	// Client is who sent it, of whom only so many may wait ([Settings].MaxHeldPerClient); the zero Addr is nobody in
	// particular.
	Client netip.Addr
	// ArrivedAt is when the request came, to be counted in the service's retry budget; zero for an attempt after the first.
	ArrivedAt time.Time
}

// Acquire claims an endpoint for a request: the one it has a session on, else the less busy of two random ready ones.
// With none ready it waits for one, until ctx ends, the service has had none for its hold time ([ErrDown]), or at once
// if too many wait ([ErrFull]), too many of one client ([ErrClientFull]), or no container is known ([ErrUnknown]). Its cost does not depend on how many services
// and endpoints there are.
//
// The request is counted on the endpoint under the same lock that takes endpoints out of rotation, so that none
// slips in after a drain has begun.
func (s *Service) Acquire(ctx context.Context, w PickOptions) (Claim, error) {
	if claim, ok := s.TryAcquire(w); ok {
		return claim, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.ArrivedAt = time.Time{} // it is counted
	if claim, ok := s.claim(w); ok {
		return claim, nil
	}
	return s.holdRequest(ctx, w)
}

// TryAcquire claims an endpoint as [Service.Acquire] does, or reports that the request would have to wait.
func (s *Service) TryAcquire(w PickOptions) (Claim, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim(w)
}

// claim picks an endpoint and counts the request. The caller holds s.mu.
func (s *Service) claim(w PickOptions) (Claim, bool) {
	if !w.ArrivedAt.IsZero() {
		requests, _ := s.retryBudget.second(w.ArrivedAt)
		*requests++
	}
	if e := s.pick(w); e != nil {
		return Claim{e: e}, true
	}
	if len(s.ready) > 0 || w.Session != "" {
		return Claim{}, false // it waits for a certain one
	}
	e := s.pickTerminating(w)
	if e == nil {
		return Claim{}, false
	}
	e.inFlight++
	e.requests++
	return Claim{e: e}, true
}
