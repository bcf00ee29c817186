package registry

import (
	"context"
	"maps"
	"net/netip"
	"sync/atomic"
	"time"
)

// Endpoint is one container's address for a service. Its methods are safe for concurrent use.
type Endpoint struct {
	service   *Service
	addr      netip.AddrPort
	address   string // addr as text
	conns     Conns
	id        atomic.Pointer[string] // member.ID, for readers without the lock
	found     time.Time              // when it was added
	responses responseStats

	// The rest is guarded by service.mu.
	member       Member
	source       Source
	hasFormerIDs bool
	isReported   bool // a source reports its member; only while the service is reconciled

	state         State
	reason        string
	since         time.Time // when it entered the state
	readyIndex    int       // index in service.ready; -1: not there
	removedReason string    // why it was removed, while requests or sockets are still on it; empty: it was not

	inFlight int // requests
	sockets  int // upgraded connections
	requests uint64

	probeState    State // what the probe last reported: Starting, Ready or Failing
	probeReason   string
	stopProbe     context.CancelFunc // nil: no probe runs
	checkRequests chan struct{}

	termination termination
	drain       drain
	ejection    ejection
}

// add makes an endpoint of a member and starts its probe. The caller holds s.mu.
func (s *Service) add(m Member, source Source) {
	addr := m.address()
	now := time.Now()
	e := &Endpoint{
		service: s, found: now, addr: addr, address: addr.String(),
		conns:      s.r.opts.OpenConns(addr.String()),
		probeState: Starting, probeReason: "waiting for its first answer",
		since: now, readyIndex: -1, checkRequests: make(chan struct{}, 1),
	}
	s.endpoints = append(s.endpoints, e)
	e.updateMember(m, source)
	e.startProbe()
}

// ID returns the endpoint's identity: the container ID, or the address if only that is known.
func (e *Endpoint) ID() string { return *e.id.Load() }

// Address returns where the endpoint listens, "172.18.0.7:3000".
func (e *Endpoint) Address() string { return e.address }

// Conns returns the endpoint's connections, which [Options].OpenConns made.
func (e *Endpoint) Conns() Conns { return e.conns }

// IsReady reports whether the endpoint takes requests.
func (e *Endpoint) IsReady() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.state == Ready
}

// IsStopExpected reports whether Docker told the endpoint's container to stop, or an operator drains it, so that requests
// which fail on it are not to blame.
func (e *Endpoint) IsStopExpected() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.drain.isRequested || e.termination.isRequested()
}

// isIdle reports whether the endpoint has no requests and no sockets. The caller holds service.mu.
func (e *Endpoint) isIdle() bool { return e.inFlight == 0 && e.sockets == 0 }

// checkNow makes the probe check the endpoint at once.
func (e *Endpoint) checkNow() {
	select {
	case e.checkRequests <- struct{}{}:
	default:
	}
}

// updateMember applies what a source reports about the endpoint. A source that knows only the address does not replace the
// identity that another source gave. The caller holds service.mu.
func (e *Endpoint) updateMember(m Member, source Source) {
	if m.hasAddressID() && e.member.ID != "" {
		m.ID, m.Name = e.member.ID, e.member.Name
	}
	if e.id.Load() == nil || *e.id.Load() != m.ID {
		e.setID(m.ID)
	}
	isRecovered := e.member.UnhealthyReason != "" && m.UnhealthyReason == ""
	e.member, e.source = m, source
	switch {
	case m.Phase == Terminating:
		e.markTerminating()
	case e.termination.isRequested() && source != DNS: // DNS does not know whether a container stops
		e.termination.cancel()
	}
	e.updateState()
	if isRecovered {
		e.checkNow()
	}
}

// setID gives the endpoint an identity. An earlier one still leads to it, since sessions may be known by that.
func (e *Endpoint) setID(id string) {
	e.hasFormerIDs = e.id.Swap(&id) != nil
	e.service.byID[id] = e
	e.service.identitiesVersion.Add(1)
}

// removeIDs removes the endpoint's identities, except one that is another endpoint's by now.
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
