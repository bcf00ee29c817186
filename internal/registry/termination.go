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
	// terminatingFirstCheck is when the probe looks first after the signal: an application that heeds it has begun to stop by then.
	terminatingFirstCheck = 100 * time.Millisecond
	// terminatingCheckInterval is how often it looks from then on.
	terminatingCheckInterval = 250 * time.Millisecond
	// terminatingPassMaxAge is how old its last pass may be for requests to be sent.
	terminatingPassMaxAge = 600 * time.Millisecond
	// terminatingProofDelay is how long after the signal the probe must have passed for requests that can't be repeated.
	terminatingProofDelay = time.Second
)

// termination is what is known of an endpoint whose container was told to stop by Docker. The zero value is one that was not.
// It is guarded by service.mu.
type termination struct {
	since        time.Time // the signal
	lastPass     time.Time // the last pass of the probe since then
	stopObserved bool      // the application has shown that it stops
	timer        *time.Timer
}

// markTerminating notes that Docker told the container to stop, and has the probe look often whether it does. The caller holds
// service.mu.
func (e *Endpoint) markTerminating() {
	e.stopExpected = true
	if !e.termination.since.IsZero() {
		return
	}
	e.termination = termination{since: time.Now()}
	if e.stopProbe == nil {
		return // without a probe nothing shows that it still serves
	}
	e.termination.timer = time.AfterFunc(terminatingFirstCheck, e.checkTermination)
}

// checkTermination has the probe look, as long as somebody may need to know.
func (e *Endpoint) checkTermination() {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	if e.termination.timer == nil || e.termination.stopObserved || e.removedReason != "" || e.state != Draining {
		return
	}
	if len(e.service.ready) == 0 && !e.drainRequested {
		e.checkNow()
	}
	e.termination.timer.Reset(terminatingCheckInterval)
}

// cancelTermination forgets a stop that was taken back. The caller holds service.mu.
func (e *Endpoint) cancelTermination() {
	if e.termination.timer != nil {
		e.termination.timer.Stop()
	}
	e.termination = termination{}
	e.stopExpected = e.drainRequested
}

// recordTerminatingPass notes that the probe passed, and wakes those that wait. The caller holds service.mu.
func (e *Endpoint) recordTerminatingPass() {
	if e.termination.since.IsZero() || e.termination.stopObserved {
		return
	}
	e.termination.lastPass = time.Now()
	if s := e.service; len(s.ready) == 0 && s.held > 0 && !s.closed {
		s.broadcast()
	}
}

// markStopObserved notes that the application shows that it stops. The caller holds service.mu.
func (e *Endpoint) markStopObserved() {
	if !e.termination.since.IsZero() {
		e.termination.stopObserved = true
	}
}

// canServe reports whether the endpoint, which was told to stop, takes a request all the same.
func (t *termination) canServe(w PickOptions, now time.Time) bool {
	switch {
	case t.since.IsZero() || t.stopObserved || w.Upgrade || now.Sub(t.lastPass) > terminatingPassMaxAge:
		return false
	case w.Replayable:
		return true
	}
	return t.lastPass.Sub(t.since) >= terminatingProofDelay
}

// pickTerminating returns the least busy endpoint that was told to stop and still serves, for a service that has no ready one;
// nil if there is none. The caller holds s.mu.
func (s *Service) pickTerminating(w PickOptions) (least *Endpoint) {
	now := time.Now()
	for _, e := range s.endpoints {
		if e.state != Draining || e.drainRequested || e.removedReason != "" || e.probeState != Ready || e.member.UnhealthyReason != "" ||
			!e.termination.canServe(w, now) || slices.Contains(w.Avoid, e) {
			continue
		}
		if least == nil || e.load(w) < least.load(w) {
			least = e
		}
	}
	if least != nil {
		s.terminatingServedAt = now
	}
	return least
}

// IsStopExpected reports whether the endpoint's container was told to stop, by Docker or by an operator, so that its end is no
// doing of the requests on it.
func (e *Endpoint) IsStopExpected() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.stopExpected
}
