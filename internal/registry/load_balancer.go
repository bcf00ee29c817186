package registry

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// PickOptions are what a request needs of its endpoint. With the zero value, any endpoint will do.
type PickOptions struct {
	// Avoid are the endpoints that the request has been on. They are picked last.
	Avoid []*Endpoint
	// Session is the identity of the endpoint that holds the request's session, which no other endpoint knows. It is picked
	// while it is ready, and while it drains.
	Session string
	// Prefer is the identity of the endpoint that the request should go to, but need not. It is picked while it is ready.
	Prefer string
	// Upgrade says that the request may become a socket, so that open sockets count as load too.
	Upgrade bool
	// Replayable says that the request may be sent again if it is not answered.
	Replayable bool
	// Client is the sender, whose waiting requests are limited ([Settings].MaxHeldPerClient); the zero Addr is not limited.
	Client netip.Addr
	// ArrivedAt is when the request arrived, for the service's retry budget; zero for an attempt after the first.
	ArrivedAt time.Time
}

// pick chooses an endpoint for a request and counts the request on it; nil if the request must wait. The caller holds s.mu.
func (s *Service) pick(opts PickOptions) *Endpoint {
	e := s.stickyEndpoint(opts)
	if e == nil {
		if s.preferredStarting(opts) != nil {
			return nil
		}
		e = s.powerOfTwoChoices(opts)
	}
	if e != nil {
		e.inFlight++
		e.requests++
	}
	return e
}

// stickyEndpoint returns the endpoint of the request's session, or the one that it prefers, if that can take it.
func (s *Service) stickyEndpoint(opts PickOptions) *Endpoint {
	if opts.Session != "" {
		// A ready endpoint is picked even if the request has been there: no other endpoint knows the session.
		if e := s.byID[opts.Session]; e != nil && (e.state == Ready || !slices.Contains(opts.Avoid, e)) && e.keepsSessions() {
			return e
		}
	}
	if opts.Prefer != "" {
		if e := s.byID[opts.Prefer]; e != nil && e.state == Ready && !slices.Contains(opts.Avoid, e) {
			return e
		}
	}
	return nil
}

// preferredStarting returns the endpoint that the request prefers if it is starting, during the startup grace: it may be
// ready soon.
func (s *Service) preferredStarting(opts PickOptions) *Endpoint {
	if opts.Prefer == "" || !s.r.isInStartupGrace() {
		return nil
	}
	if e := s.byID[opts.Prefer]; e != nil && e.state == Starting {
		return e
	}
	return nil
}

// keepsSessions reports whether the endpoint still gets requests of sessions that began on it.
func (e *Endpoint) keepsSessions() bool {
	switch {
	case e.state == Ready, e.state == Failing && (e.ejection.awaitingProbe || e.ejection.isActive() && e.probeState == Ready):
		return true
	case e.state != Draining || e.removedReason != "":
		return false
	case e.drain.isRequested:
		return time.Now().Before(e.drain.sessionsUntil)
	}
	return true // its container was told to stop, and may answer until it has stopped
}

// powerOfTwoChoices returns the less busy of two random ready endpoints.
func (s *Service) powerOfTwoChoices(opts PickOptions) *Endpoint {
	n := len(s.ready)
	if n == 0 {
		return nil
	}
	if n == 1 {
		return s.ready[0]
	}
	if len(opts.Avoid) > 0 {
		return s.leastLoaded(opts)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	e, other := s.ready[i], s.ready[j]
	if s.hasSlowStart {
		if picked := s.pickBySlowStart(e, other, opts); picked != nil {
			return picked
		}
	}
	if other.load(opts) < e.load(opts) {
		return other
	}
	return e
}

// leastLoaded returns the least busy of the ready endpoints that the request does not avoid, or of all if it avoids all.
func (s *Service) leastLoaded(opts PickOptions) (least *Endpoint) {
	isLeastAvoided := true
	for _, e := range s.ready {
		isAvoided := slices.Contains(opts.Avoid, e)
		if least == nil || isLeastAvoided && !isAvoided || isAvoided == isLeastAvoided && e.load(opts) < least.load(opts) {
			least, isLeastAvoided = e, isAvoided
		}
	}
	return least
}

// load returns how busy the endpoint is: its requests and, for a request that may become a socket, its sockets.
func (e *Endpoint) load(opts PickOptions) int {
	if opts.Upgrade {
		return e.inFlight + e.sockets
	}
	return e.inFlight
}

// minSlowStartWeight is the weight of an endpoint that has just become ready.
const minSlowStartWeight = 0.1

// pickBySlowStart implements slow start for two endpoints: the younger one gets its share of the requests, and the other gets
// the rest. The share is the proportion of their weights: with 0.3, the function returns the older endpoint for 7 of 10
// requests, and nil, which leaves the choice to the load, for 3. It also returns nil if the older endpoint is overloaded: if
// its load times the share exceeds the load of the younger one.
func (s *Service) pickBySlowStart(a, b *Endpoint, opts PickOptions) *Endpoint {
	now := time.Now()
	if now.After(s.slowStartUntil) {
		s.hasSlowStart = false
		return nil
	}
	weightA, weightB := s.slowStartWeight(a, now), s.slowStartWeight(b, now)
	if weightB < weightA {
		a, b, weightA, weightB = b, a, weightB, weightA
	}
	share := weightA / weightB // the requests of a for each request of b
	if rand.Float64() <= share || float64(b.load(opts))*share > float64(a.load(opts)) {
		return nil
	}
	return b
}

// slowStartWeight grows from minSlowStartWeight to 1 in the slow-start time after the endpoint became ready.
func (s *Service) slowStartWeight(e *Endpoint, now time.Time) float64 {
	return min(1, max(minSlowStartWeight, float64(now.Sub(e.since))/float64(s.settings.SlowStart)))
}
