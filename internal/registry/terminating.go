package registry

import (
	"slices"
	"time"
)

// Many applications ignore SIGTERM, as process 1 of a container without an init, and serve until Docker kills them ten
// seconds later. While such a container is the only one of its service, requests go on going to it, as Kubernetes does with
// endpoints that are serving and terminating: to hold them would cost every one of them the stop time and the boot.
//
// An application that does stop shows it: its probe fails, a dial is refused, a request is cut off or answered with 502, 503 or
// 504. That ends it at once, for this stop.
const (
	// terminatingFirst is when the probe looks first after the signal: an application that heeds it has begun to stop by then.
	terminatingFirst = 100 * time.Millisecond
	// terminatingEvery is how often it looks from then on.
	terminatingEvery = 250 * time.Millisecond
	// terminatingFresh is how old its last pass may be for requests to be sent.
	terminatingFresh = 600 * time.Millisecond
	// terminatingProved is how long after the signal the probe must have passed for requests that can't be repeated.
	terminatingProved = time.Second
)

// terminating is what is known of an endpoint whose container was told to stop by Docker. The zero value is one that was not.
// It is guarded by service.mu.
type terminating struct {
	since  time.Time // the signal
	passed time.Time // the last pass of the probe since then
	ended  bool      // the application has shown that it stops
	timer  *time.Timer
}

// terminate notes that Docker told the container to stop, and has the probe look often whether it does. The caller holds
// service.mu.
func (e *Endpoint) terminate() {
	e.stopRequested = true
	if !e.terminating.since.IsZero() {
		return
	}
	e.terminating = terminating{since: time.Now()}
	if e.stopProbe == nil {
		return // without a probe nothing shows that it still serves
	}
	e.terminating.timer = time.AfterFunc(terminatingFirst, e.checkTerminating)
}

// checkTerminating has the probe look, as long as somebody may need to know.
func (e *Endpoint) checkTerminating() {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	if e.terminating.timer == nil || e.terminating.ended || e.departed != "" || e.state != Draining {
		return
	}
	if len(e.service.ready) == 0 && !e.ordered {
		e.poke()
	}
	e.terminating.timer.Reset(terminatingEvery)
}

// resumeServing forgets a stop that was taken back. The caller holds service.mu.
func (e *Endpoint) resumeServing() {
	if e.terminating.timer != nil {
		e.terminating.timer.Stop()
	}
	e.terminating = terminating{}
	e.stopRequested = e.ordered
}

// passTerminating notes that the probe passed, and wakes those that wait. The caller holds service.mu.
func (e *Endpoint) passTerminating() {
	if e.terminating.since.IsZero() || e.terminating.ended {
		return
	}
	e.terminating.passed = time.Now()
	if s := e.service; len(s.ready) == 0 && s.held > 0 && !s.closed {
		s.broadcast()
	}
}

// endTerminating notes that the application shows that it stops. The caller holds service.mu.
func (e *Endpoint) endTerminating() {
	if !e.terminating.since.IsZero() {
		e.terminating.ended = true
	}
}

// serves reports whether the endpoint, which was told to stop, takes a request all the same.
func (t *terminating) serves(w Want, now time.Time) bool {
	switch {
	case t.since.IsZero() || t.ended || w.Upgrade || now.Sub(t.passed) > terminatingFresh:
		return false
	case w.Repeatable:
		return true
	}
	return t.passed.Sub(t.since) >= terminatingProved
}

// pickTerminating returns the least busy endpoint that was told to stop and still serves, for a service that has no ready one;
// nil if there is none. The caller holds s.mu.
func (s *Service) pickTerminating(w Want) (least *Endpoint) {
	now := time.Now()
	for _, e := range s.endpoints {
		if e.state != Draining || e.ordered || e.departed != "" || e.verdict != Ready || e.member.Broken != "" ||
			!e.terminating.serves(w, now) || slices.Contains(w.Avoid, e) {
			continue
		}
		if least == nil || e.load(w) < least.load(w) {
			least = e
		}
	}
	if least != nil {
		s.servedAt = now
	}
	return least
}

// IsTerminating reports whether the endpoint's container was told to stop, by Docker or by an operator, so that its end is no
// doing of the requests on it.
func (e *Endpoint) IsTerminating() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.stopRequested
}
