package registry

import "time"

// State is the state of an endpoint: starting → ready ⇄ failing, and from any of them draining → gone.
type State string

// The states of an endpoint. Only a ready endpoint gets new requests; [Service.Acquire] has the exceptions.
const (
	Starting State = "starting" // has not passed its probe yet
	Ready    State = "ready"    // passes its probe and takes requests
	Failing  State = "failing"  // was ready once, and fails now
	Draining State = "draining" // finishes the requests that it has
	Gone     State = "gone"     // no longer an endpoint of the service
)

// Change is one change of an endpoint's state, for logs.
type Change struct {
	Service  string
	Endpoint string // its identity: container ID, or address
	Name     string // for display: project/service/number
	Address  string
	From, To State
	Reason   string
	Time     time.Time
}

// updateState derives the state from what the sources, the operator and the probe report, and enters it. The caller holds
// service.mu.
func (e *Endpoint) updateState() {
	switch {
	case e.state == Gone:
	case e.removedReason != "":
		e.enter(Draining, e.removedReason)
	case e.member.Phase == Terminating:
		e.enter(Draining, "its container was told to stop")
	case e.drain.isRequested:
		e.enter(Draining, "drained by an operator")
	case e.member.UnhealthyReason != "":
		e.enter(Failing, e.member.UnhealthyReason)
	case e.ejection.isActive() && e.probeState == Ready:
		e.enter(Failing, e.ejection.reason)
	default:
		e.enter(e.probeState, e.probeReason)
	}
}

// enter changes the state, unless it is the same already, and does what follows from the change, in this order: it puts the
// endpoint into rotation and wakes waiting requests, or takes it out; it closes its sockets if it drains, or stops doing so; it
// reports the change to Options.OnChange, which logs it; and if no endpoint is ready now, it ends the ejections of all. The
// caller holds service.mu.
func (e *Endpoint) enter(state State, reason string) {
	if e.state == state && e.reason == reason {
		return
	}
	from := e.state
	e.reason = reason
	if from == state {
		return
	}
	s := e.service
	e.state, e.since = state, time.Now()
	switch {
	case state == Ready:
		s.addReady(e)
	case e.readyIndex >= 0:
		s.removeReady(e)
	}
	if state == Draining {
		s.counters.drains.Add(1)
	}
	if e.conns != nil {
		switch {
		case state == Draining:
			e.conns.Drain(s.settings.CloseWindow, reason)
		case from == Draining && state != Gone:
			e.conns.Resume()
		}
	}
	s.r.opts.OnChange(Change{
		Service: s.name, Endpoint: e.ID(), Name: e.member.Name, Address: e.address,
		From: from, To: state, Reason: reason, Time: e.since,
	})
	if from == Ready && len(s.ready) == 0 {
		s.unejectAll()
	}
}

// addReady puts a ready endpoint into rotation and wakes the requests that wait for one. The caller holds s.mu.
func (s *Service) addReady(e *Endpoint) {
	e.readyIndex = len(s.ready)
	s.ready = append(s.ready, e)
	now := time.Now()
	if len(s.ready) == 1 {
		s.since = now
	}
	if s.settings.SlowStart > 0 {
		s.hasSlowStart, s.slowStartUntil = true, now.Add(s.settings.SlowStart)
	}
	s.queue.wake()
}

// removeReady takes an endpoint out of rotation, at a cost that does not depend on the number of endpoints. The caller holds
// s.mu.
func (s *Service) removeReady(e *Endpoint) {
	last := len(s.ready) - 1
	s.ready[e.readyIndex] = s.ready[last]
	s.ready[e.readyIndex].readyIndex = e.readyIndex
	s.ready[last] = nil
	s.ready = s.ready[:last]
	e.readyIndex = -1
	if last == 0 {
		s.since = time.Now()
	}
}
