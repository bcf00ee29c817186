package registry

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Claim is one request's hold on one endpoint, or that of the socket that the request became. It stays valid until
// [Claim.Release], whatever happens to the endpoint, the service or the configuration. Endpoint and the Report methods may be
// called after it, too. The zero Claim claims nothing.
type Claim struct {
	e        *Endpoint
	upgraded bool
}

// Acquire claims an endpoint for a request: the one that holds its session, else the less busy of two random ready ones.
// If none is ready, Acquire waits for one. It fails when ctx ends or when the service has had no ready endpoint for its hold
// time ([ErrDown]), and at once if too many requests wait ([ErrFull]), too many of this client wait ([ErrClientFull]), or no
// container is known ([ErrUnknown]). Its cost does not depend on the number of services and endpoints.
//
// Acquire counts the request on the endpoint under the same lock that takes endpoints out of rotation, so that no request is
// added after a drain has begun.
func (s *Service) Acquire(ctx context.Context, opts PickOptions) (Claim, error) {
	if claim, ok := s.TryAcquire(opts); ok {
		return claim, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	opts.ArrivedAt = time.Time{} // TryAcquire has counted the request
	if claim, ok := s.claim(opts); ok {
		return claim, nil
	}
	return s.holdRequest(ctx, opts)
}

// TryAcquire claims an endpoint as [Service.Acquire] does, or reports that the request would have to wait.
func (s *Service) TryAcquire(opts PickOptions) (Claim, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim(opts)
}

// claim picks an endpoint and counts the request. The caller holds s.mu.
func (s *Service) claim(opts PickOptions) (Claim, bool) {
	if !opts.ArrivedAt.IsZero() {
		requests, _ := s.retryBudget.second(opts.ArrivedAt)
		*requests++
	}
	if e := s.pick(opts); e != nil {
		return Claim{e: e}, true
	}
	if len(s.ready) > 0 || opts.Session != "" {
		return Claim{}, false // the request waits for a certain endpoint
	}
	e := s.pickTerminating(opts)
	if e == nil {
		return Claim{}, false
	}
	e.inFlight++
	e.requests++
	return Claim{e: e}, true
}

// Endpoint returns the claimed endpoint.
func (c Claim) Endpoint() *Endpoint { return c.e }

// Upgrade turns the claim of a request into the claim of the socket that the request became, and returns it. Release the
// returned claim, and not this one.
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

// ReportSuccess reports that the endpoint answered without an error. It takes no lock.
func (c Claim) ReportSuccess() { c.e.ejection.resetFailures() }

// ReportFailure reports that the endpoint got a request and failed: it did not answer, or it answered that it cannot serve.
// Several failures in a row eject the endpoint, each time for longer. The last ready endpoint is never ejected, and failures of
// one client alone do not eject either: its requests may be the cause. The zero client counts as several clients.
func (c Claim) ReportFailure(reason string, client netip.Addr) {
	e := c.e
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	e.termination.observeStop()
	failures := e.ejection.countFailure(client)
	if e.canEject(failures) {
		e.eject(fmt.Sprintf("%d bad answers in a row, the last: %s", failures, reason))
	}
}

// ReportDialError reports that a connection to the endpoint could not be made: nothing listens there, or nobody answers. The
// endpoint leaves rotation and its probe checks it at once. The registry requests a DNS lookup and, if the orchestrator has
// reported the endpoint, a look at that.
func (c Claim) ReportDialError(reason string) {
	e := c.e
	e.service.mu.Lock()
	e.termination.observeStop()
	if e.probeState == Ready && e.state != Gone && e.stopProbe != nil { // without a probe, nothing would make it ready again
		e.probeState, e.probeReason = Failing, reason
		e.updateState()
	}
	source := e.source
	e.service.mu.Unlock()
	e.checkNow()
	e.service.r.requestLookups(e.service)
	if source.isOrchestrator() {
		e.service.r.requestPing()
	}
}
