package registry

import (
	"math/rand/v2"
	"slices"
	"time"
)

// pick chooses an endpoint for a request and counts the request on it; nil if it has to wait. The caller holds s.mu.
func (s *Service) pick(w Want) *Endpoint {
	e := s.sticky(w)
	if e == nil {
		if s.coming(w) != nil {
			return nil
		}
		e = s.lessBusy(w)
	}
	if e != nil {
		e.inFlight++
		e.requests++
	}
	return e
}

// sticky returns the endpoint that the request belongs to, if that can take it.
func (s *Service) sticky(w Want) *Endpoint {
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

// coming returns the endpoint that the request should go to, if that is about to be ready, right after the start of the
// edge.
func (s *Service) coming(w Want) *Endpoint {
	if w.Prefer == "" || !s.r.young() {
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
	case e.state == Ready, e.state == Failing && (e.returning || e.ejected != "" && e.verdict == Ready):
		return true
	case e.state != Draining || e.departed != "":
		return false
	case e.ordered:
		return time.Now().Before(e.sessionsUntil)
	}
	return true // it was told to stop, and may answer as long as it runs
}

// lessBusy returns the less busy of two random ready endpoints.
func (s *Service) lessBusy(w Want) *Endpoint {
	n := len(s.ready)
	if n == 0 {
		return nil
	}
	if n == 1 {
		return s.ready[0]
	}
	if len(w.Avoid) > 0 {
		return s.leastBusy(w)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	e, other := s.ready[i], s.ready[j]
	if s.warming {
		if warmer := s.passed(e, other, w); warmer != nil {
			return warmer
		}
	}
	if other.load(w) < e.load(w) {
		return other
	}
	return e
}

// leastBusy returns the least busy of all ready endpoints but those to avoid; of those, if there is no other.
func (s *Service) leastBusy(w Want) (least *Endpoint) {
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
func (e *Endpoint) load(w Want) int {
	if w.Upgrade {
		return e.inFlight + e.sockets
	}
	return e.inFlight
}

// coldest is the least part of the requests that an endpoint gets that has just become ready.
const coldest = 0.1

// passed implements slow start: of two endpoints that have been ready for different times, the younger one passes a
// request on to the other with the probability that it lacks of being warm; unless the other is so busy that its warmth
// does not help. It returns the endpoint to take, or nil when warmth does not decide.
func (s *Service) passed(a, b *Endpoint, w Want) *Endpoint {
	now := time.Now()
	if now.After(s.warmAt) {
		s.warming = false
		return nil
	}
	warmA, warmB := s.warmth(a, now), s.warmth(b, now)
	if warmB < warmA {
		a, b, warmA, warmB = b, a, warmB, warmA
	}
	part := warmA / warmB // of what b takes
	if rand.Float64() <= part || float64(b.load(w))*part > float64(a.load(w)) {
		return nil
	}
	return b
}

// warmth grows from coldest to 1 in the slow-start time after the endpoint became ready.
func (s *Service) warmth(e *Endpoint, now time.Time) float64 {
	return min(1, max(coldest, float64(now.Sub(e.since))/float64(s.settings.SlowStart)))
}
