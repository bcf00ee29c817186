package registry

import (
	"slices"
	"time"
)

// Many applications ignore SIGTERM, as process 1 of a container without an init, and serve until Docker kills them ten
// seconds later. While such a container is the only one of its service, the edge still sends it requests, as Kubernetes does
// with endpoints that are serving and terminating. Otherwise each request would wait for the stop timeout and the start of
// the next container.
//
// That holds for the Docker Engine, which reports the signal itself. A Swarm and Kubernetes announce a stop, in some cases seconds
// before the signal, so that an endpoint which still serves shows nothing.
//
// An application that does stop shows it: its probe fails, it refuses a connection, breaks one, or answers with 502, 503 or
// 504. For the rest of this stop, the edge then sends it nothing more.
const (
	// terminatingFirstCheck is when the probe first checks after the signal: an application that heeds it has begun to stop by
	// then.
	terminatingFirstCheck = 100 * time.Millisecond
	// terminatingCheckInterval is the time between the checks that follow.
	terminatingCheckInterval = 250 * time.Millisecond
	// terminatingPassMaxAge is how old the last pass of the probe may be when a request is sent.
	terminatingPassMaxAge = 600 * time.Millisecond
	// terminatingProofDelay is how long after the signal the probe must have passed for requests that cannot be replayed.
	terminatingProofDelay = time.Second
)

// termination is what the edge knows about the stop of an endpoint's container by Docker. The zero value says that there is
// no stop. It is guarded by service.mu, which the caller of each method holds.
type termination struct {
	since        time.Time // when Docker sent the signal
	lastPass     time.Time // when the probe last passed since then
	stopObserved bool      // the application has shown that it stops, or could not show that it goes on
	timer        *time.Timer
}

func (t *termination) isRequested() bool { return !t.since.IsZero() }

// recordPass notes that the probe passed, and reports whether the endpoint may serve requests because of that.
func (t *termination) recordPass() bool {
	if !t.isRequested() || t.stopObserved {
		return false
	}
	t.lastPass = time.Now()
	return true
}

// observeStop notes that the application has shown that it stops, if Docker told its container to.
func (t *termination) observeStop() { t.stopObserved = t.stopObserved || t.isRequested() }

// canServe reports whether the endpoint may get a request although its container was told to stop.
func (t *termination) canServe(opts PickOptions, now time.Time) bool {
	switch {
	case !t.isRequested() || t.stopObserved || opts.Upgrade || now.Sub(t.lastPass) > terminatingPassMaxAge:
		return false
	case opts.Replayable:
		return true
	}
	return t.lastPass.Sub(t.since) >= terminatingProofDelay
}

// cancel forgets a stop that Docker did not complete.
func (t *termination) cancel() {
	t.stopTimer()
	*t = termination{}
}

func (t *termination) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// markTerminating notes that Docker told the container to stop, and schedules frequent checks by the probe. The caller holds
// service.mu.
func (e *Endpoint) markTerminating() {
	if e.termination.isRequested() {
		return
	}
	e.termination = termination{since: time.Now(), stopObserved: !e.source.knowsSignals()}
	if e.stopProbe == nil {
		return // without a probe, nothing shows that the application still serves
	}
	e.termination.timer = time.AfterFunc(terminatingFirstCheck, e.checkTermination)
}

// checkTermination makes the probe check the endpoint while requests may depend on it, and schedules the next check.
func (e *Endpoint) checkTermination() {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	t := &e.termination
	if t.timer == nil || t.stopObserved || e.removedReason != "" || e.state != Draining {
		return
	}
	if len(e.service.ready) == 0 && !e.drain.isRequested {
		e.checkNow()
	}
	t.timer.Reset(terminatingCheckInterval)
}

// recordTerminatingPass notes that the probe passed, and wakes the requests that wait. The caller holds service.mu.
func (e *Endpoint) recordTerminatingPass() {
	if s := e.service; e.termination.recordPass() && len(s.ready) == 0 && s.queue.count > 0 {
		s.queue.wake()
	}
}

// pickTerminating returns the least busy endpoint whose container was told to stop and still serves, for a service that has
// no ready endpoint; nil if there is none. The caller holds s.mu.
func (s *Service) pickTerminating(opts PickOptions) (least *Endpoint) {
	now := time.Now()
	for _, e := range s.endpoints {
		if e.state != Draining || e.drain.isRequested || e.removedReason != "" || e.probeState != Ready || e.member.UnhealthyReason != "" ||
			!e.termination.canServe(opts, now) || slices.Contains(opts.Avoid, e) {
			continue
		}
		if least == nil || e.load(opts) < least.load(opts) {
			least = e
		}
	}
	if least != nil {
		s.terminatingServedAt = now
	}
	return least
}
