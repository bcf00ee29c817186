package registry

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Conns is what the request path keeps open to one endpoint: its connections. It is made with the endpoint, so that
// an idle connection can never reach the container that is given the same address next.
type Conns interface {
	// Close lets requests on connections finish, makes no new connection, and keeps none for later. It may be called
	// more than once.
	Close()
	// Abort breaks the connections, with the requests on them: nobody is left at the other end.
	Abort()
	// Drain has upgraded connections ended in good order, spread over window, for a reason such as "its container was told
	// to stop". Resume takes that back for those that are left. Neither blocks.
	Drain(window time.Duration, reason string)
	Resume()
	// CloseExisting has the upgraded connections that are open now ended in the same way; later ones stay. It does not block.
	CloseExisting(window time.Duration, reason string)
	// Traffic returns the bytes that upgraded connections have carried so far.
	Traffic() Traffic
}

// Traffic is what upgraded connections have carried, in bytes.
type Traffic struct {
	FromClients  uint64 `json:"from_clients"`
	FromEndpoint uint64 `json:"from_endpoint"`
}

// Endpoint is one container's address for a service.
type Endpoint struct {
	service *Service
	addr    netip.AddrPort
	address string // addr as text
	conns   Conns

	// The rest is guarded by service.mu.
	member        Member
	source        Source
	state         State
	reason        string
	since         time.Time
	probeState    State  // what the probe found last: Starting, Ready or Failing
	probeReason   string // its reason
	hasFormerIDs  bool   // it has had another identity
	removedReason string // why it is no longer an endpoint, while something is still under way on it; empty: it is one
	readyIndex    int    // index in service.ready; -1: not there
	inFlight      int    // requests
	sockets       int    // what upgrades have made of requests
	requests      uint64
	stopProbe     context.CancelFunc
	checkRequests chan struct{}

	stopExpected bool // of its container, by Docker or an operator
	termination  termination

	drainRequested bool // an operator has it drained
	sessionsUntil  time.Time

	ejectReason   string // why it is kept out although it passes its probe; empty: it isn't
	unejectedAt   time.Time
	awaitingProbe bool // its ejection is over, its probe has not looked since
	ejections     int  // in a row
	ejectTimer    *time.Timer

	firstFailureClient    netip.Addr // the client of the first of the bad answers in a row
	severalFailureClients bool       // they are several clients'

	consecutiveFailures atomic.Int32           // bad answers in a row
	id                  atomic.Pointer[string] // member.ID, for readers without the lock
}

// ID returns the endpoint's identity: the container ID, or the address where only that is known.
func (e *Endpoint) ID() string { return *e.id.Load() }

// Address returns where the endpoint listens, "172.18.0.7:3000".
func (e *Endpoint) Address() string { return e.address }

// IsReady reports whether the endpoint takes requests.
func (e *Endpoint) IsReady() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.state == Ready
}

// Conns returns the endpoint's connections, as [Options].Open made them.
func (e *Endpoint) Conns() Conns { return e.conns }

// add makes an endpoint of a member and starts its probe. The caller holds s.mu.
func (s *Service) add(m Member, source Source) {
	addr := m.address(s.port)
	e := &Endpoint{
		service: s, addr: addr, address: addr.String(),
		conns:      s.r.opts.OpenConns(addr.String()),
		probeState: Starting, probeReason: "waiting for its first answer",
		since: time.Now(), readyIndex: -1, checkRequests: make(chan struct{}, 1),
	}
	s.endpoints = append(s.endpoints, e)
	e.updateMember(m, source)
	e.startProbe()
}

// updateMember takes in what a source says of the endpoint. A source that knows no more than the address doesn't take away the
// identity that a better one gave.
func (e *Endpoint) updateMember(m Member, source Source) {
	if m.hasAddressID() && e.member.ID != "" {
		m.ID, m.Name = e.member.ID, e.member.Name
	}
	if e.id.Load() == nil || *e.id.Load() != m.ID {
		e.setID(m.ID)
	}
	mended := e.member.UnhealthyReason != "" && m.UnhealthyReason == ""
	e.member, e.source = m, source
	switch {
	case m.Phase == Terminating:
		e.markTerminating()
	case !e.termination.since.IsZero() && source != DNS: // which does not know of stops
		e.cancelTermination()
	}
	e.updateState()
	if mended {
		e.checkNow()
	}
}

// setID gives the endpoint an identity. It goes on answering to an earlier one: sessions may be known by that.
func (e *Endpoint) setID(id string) {
	e.hasFormerIDs = e.id.Swap(&id) != nil
	e.service.byID[id] = e
	e.service.identitiesVersion.Add(1)
}

// removeIDs ends the endpoint's identities, except one that is another endpoint's by now.
func (e *Endpoint) removeIDs() {
	s := e.service
	if s.byID[e.ID()] == e {
		delete(s.byID, e.ID())
	}
	if e.hasFormerIDs {
		maps.DeleteFunc(s.byID, func(_ string, other *Endpoint) bool { return other == e })
	}
	s.identitiesVersion.Add(1)
}

// isIdle reports whether nothing is under way on the endpoint.
func (e *Endpoint) isIdle() bool { return e.inFlight == 0 && e.sockets == 0 }

// checkNow tells the probe to look again now.
func (e *Endpoint) checkNow() {
	select {
	case e.checkRequests <- struct{}{}:
	default:
	}
}

// updateState derives the state from what the source and the probe say, and acts on a change of it.
func (e *Endpoint) updateState() {
	switch {
	case e.state == Gone:
	case e.removedReason != "":
		e.enter(Draining, e.removedReason)
	case e.member.Phase == Terminating:
		e.enter(Draining, "its container was told to stop")
	case e.drainRequested:
		e.enter(Draining, "an operator has it drained")
	case e.member.UnhealthyReason != "":
		e.enter(Failing, e.member.UnhealthyReason)
	case e.ejectReason != "" && e.probeState == Ready:
		e.enter(Failing, e.ejectReason)
	default:
		e.enter(e.probeState, e.probeReason)
	}
}

// enter changes the state, and with it the endpoint's place among the ready ones.
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

// addReady puts a ready endpoint into rotation and wakes who waits for one.
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
	if !s.closed {
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

// removeReady takes an endpoint out of rotation at the cost of one move, however many there are.
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

// startRemoval ends an endpoint. Requests and sockets on it may finish, and are waited for; with cut, their connections are
// broken. Nothing new is sent there: the address may be another container's from now on.
func (s *Service) startRemoval(e *Endpoint, reason string, cut bool) {
	e.removedReason = reason
	if e.stopProbe != nil {
		e.stopProbe()
	}
	if e.conns != nil {
		e.conns.Close()
		if cut {
			e.conns.Abort()
		}
	}
	if e.isIdle() {
		s.finishRemoval(e)
		return
	}
	e.updateState()
}

// finishRemoval removes an endpoint that has departed and on which nothing is under way.
func (s *Service) finishRemoval(e *Endpoint) {
	s.endpoints = slices.DeleteFunc(s.endpoints, func(other *Endpoint) bool { return other == e })
	e.removeIDs()
	if e.stopProbe != nil {
		e.stopProbe()
	}
	if e.ejectTimer != nil {
		e.ejectTimer.Stop()
	}
	if e.termination.timer != nil {
		e.termination.timer.Stop()
	}
	e.enter(Gone, e.removedReason)
	if e.conns == nil {
		return
	}
	e.conns.Close() // once more: connections may have come back since
	traffic := e.conns.Traffic()
	s.removedTraffic.FromClients += traffic.FromClients
	s.removedTraffic.FromEndpoint += traffic.FromEndpoint
}
