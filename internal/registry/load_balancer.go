package registry

import (
	"math/rand/v2"
	"slices"
	"time"
)

// pick chooses an endpoint for a request and counts the request on it; nil if it has to wait. The caller holds s.mu.
func (s *Service) pick(w PickOptions) *Endpoint {
	e := s.stickyEndpoint(w)
	if e == nil {
		if s.preferredStarting(w) != nil {
			return nil
		}
		e = s.powerOfTwoChoices(w)
	}
	if e != nil {
		e.inFlight++
		e.requests++
	}
	return e
}

// stickyEndpoint returns the endpoint that the request belongs to, if that can take it.
func (s *Service) stickyEndpoint(w PickOptions) *Endpoint {
	if w.Session != "" {
		// One that is ready is tried again: no other one knows the session.
		if e := s.byID[w.Session]; e != nil && (e.state == Ready || !slices.Contains(w.Avoid, e)) && e.keepsSessions() {
			return e
		}
	}
	if w.Prefer != "" {
		if e := s.byID[w.Prefer]; e != nil && e.state == Ready && !slices.Contains(w.Avoid, e) {
			return e
		}
	}
	return nil
}

// preferredStarting returns the endpoint that the request should go to, if that is about to be ready, right after the start of the
// edge.
func (s *Service) preferredStarting(w PickOptions) *Endpoint {
	if w.Prefer == "" || !s.r.isInStartupGrace() {
		return nil
	}
	if e := s.byID[w.Prefer]; e != nil && e.state == Starting {
		return e
	}
	return nil
}

// keepsSessions reports whether requests of sessions that began here may still come.
func (e *Endpoint) keepsSessions() bool {
	switch {
	case e.state == Ready, e.state == Failing && (e.awaitingProbe || e.ejectReason != "" && e.probeState == Ready):
		return true
	case e.state != Draining || e.removedReason != "":
		return false
	case e.drainRequested:
		return time.Now().Before(e.sessionsUntil)
	}
	return true // it was told to stop, and may answer as long as it runs
}

// powerOfTwoChoices returns the less busy of two random ready endpoints.
func (s *Service) powerOfTwoChoices(w PickOptions) *Endpoint {
	n := len(s.ready)
	if n == 0 {
		return nil
	}
	if n == 1 {
		return s.ready[0]
	}
	if len(w.Avoid) > 0 {
		return s.leastLoaded(w)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	e, other := s.ready[i], s.ready[j]
	if s.hasSlowStart {
		if warmer := s.pickBySlowStart(e, other, w); warmer != nil {
			return warmer
		}
	}
	if other.load(w) < e.load(w) {
		return other
	}
	return e
}

// leastLoaded returns the least busy of all ready endpoints but those to avoid; of those, if there is no other.
func (s *Service) leastLoaded(w PickOptions) (least *Endpoint) {
	avoided := true
	for _, e := range s.ready {
		avoid := slices.Contains(w.Avoid, e)
		if least == nil || avoided && !avoid || avoid == avoided && e.load(w) < least.load(w) {
			least, avoided = e, avoid
		}
	}
	return least
}

// load is how busy the endpoint is, as far as the request is concerned.
func (e *Endpoint) load(w PickOptions) int {
	if w.Upgrade {
		return e.inFlight + e.sockets
	}
	return e.inFlight
}

// minSlowStartWeight is the least part of the requests that an endpoint gets that has just become ready.
const minSlowStartWeight = 0.1

// pickBySlowStart implements slow start: of two endpoints that have been ready for different times, the younger one passes a
// request on to the other with the probability that it lacks of being warm; unless the other is so busy that its warmth
// does not help. It returns the endpoint to take, or nil when warmth does not decide.
func (s *Service) pickBySlowStart(a, b *Endpoint, w PickOptions) *Endpoint {
	now := time.Now()
	if now.After(s.slowStartUntil) {
		s.hasSlowStart = false
		return nil
	}
	warmA, warmB := s.slowStartWeight(a, now), s.slowStartWeight(b, now)
	if warmB < warmA {
		a, b, warmA, warmB = b, a, warmB, warmA
	}
	part := warmA / warmB // of what b takes
	if rand.Float64() <= part || float64(b.load(w))*part > float64(a.load(w)) {
		return nil
	}
	return b
}

// slowStartWeight grows from coldest to 1 in the slow-start time after the endpoint became ready.
func (s *Service) slowStartWeight(e *Endpoint, now time.Time) float64 {
	return min(1, max(minSlowStartWeight, float64(now.Sub(e.since))/float64(s.settings.SlowStart)))
}
