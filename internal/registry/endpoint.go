package registry

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Link is what the request path keeps open to one endpoint: its connections. It is made with the endpoint, so that
// an idle connection can never reach the container that is given the same address next.
type Link interface {
	// Close lets requests on connections finish, makes no new connection, and keeps none for later. It may be called
	// more than once.
	Close()
	// Cut breaks the connections, with the requests on them: nobody is left at the other end.
	Cut()
	// Drain has upgraded connections ended in good order, spread over window, for a reason such as "its container was told
	// to stop". Resume takes that back for those that are left. Neither blocks.
	Drain(window time.Duration, reason string)
	Resume()
	// Shed has the upgraded connections that are open now ended in the same way; later ones stay. It does not block.
	Shed(window time.Duration, reason string)
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
	link    Link

	// The rest is guarded by service.mu.
	member    Member
	source    Source
	state     State
	reason    string
	since     time.Time
	verdict   State  // what the probe found last: Starting, Ready or Failing
	finding   string // its reason
	renamed   bool   // it has had another identity
	departed  string // why it is no longer an endpoint, while something is still under way on it; empty: it is one
	slot      int    // index in service.ready; -1: not there
	inFlight  int    // requests
	sockets   int    // what upgrades have made of requests
	requests  uint64
	stopProbe context.CancelFunc
	poked     chan struct{}

	stopRequested bool // of its container, by Docker or an operator
	terminating   terminating

	ordered       bool // an operator has it drained
	sessionsUntil time.Time

	ejected    string // why it is kept out although it passes its probe; empty: it isn't
	readmitted time.Time
	returning  bool // its ejection is over, its probe has not looked since
	ejections  int  // in a row
	term       *time.Timer

	struckBy        netip.Addr // the client of the first of the bad answers in a row
	struckBySeveral bool       // they are several clients'

	strikes atomic.Int32           // bad answers in a row
	id      atomic.Pointer[string] // member.ID, for readers without the lock
}

// ID returns the endpoint's identity: the container ID, or the address where only that is known.
func (e *Endpoint) ID() string { return *e.id.Load() }

// Address returns where the endpoint listens, "172.18.0.7:3000".
func (e *Endpoint) Address() string { return e.address }

// Serves reports whether the endpoint takes requests.
func (e *Endpoint) Serves() bool {
	e.service.mu.Lock()
	defer e.service.mu.Unlock()
	return e.state == Ready
}

// Link returns the endpoint's connections, as [Options].Open made them.
func (e *Endpoint) Link() Link { return e.link }

// add makes an endpoint of a member and starts its probe. The caller holds s.mu.
func (s *Service) add(m Member, source Source) {
	addr := m.address(s.port)
	e := &Endpoint{
		service: s, addr: addr, address: addr.String(),
		link:    s.r.opts.Open(addr.String()),
		verdict: Starting, finding: "waiting for its first answer",
		since: time.Now(), slot: -1, poked: make(chan struct{}, 1),
	}
	s.endpoints = append(s.endpoints, e)
	e.see(m, source)
	e.startProbe()
}

// see takes in what a source says of the endpoint. A source that knows no more than the address doesn't take away the
// identity that a better one gave.
func (e *Endpoint) see(m Member, source Source) {
	if m.anonymous() && e.member.ID != "" {
		m.ID, m.Name = e.member.ID, e.member.Name
	}
	if e.id.Load() == nil || *e.id.Load() != m.ID {
		e.rename(m.ID)
	}
	mended := e.member.Broken != "" && m.Broken == ""
	e.member, e.source = m, source
	switch {
	case m.Phase == Leaving:
		e.terminate()
	case !e.terminating.since.IsZero() && source != DNS: // which does not know of stops
		e.resumeServing()
	}
	e.settle()
	if mended {
		e.poke()
	}
}

// rename gives the endpoint an identity. It goes on answering to an earlier one: sessions may be known by that.
func (e *Endpoint) rename(id string) {
	e.renamed = e.id.Swap(&id) != nil
	e.service.byID[id] = e
	e.service.identities.Add(1)
}

// unname ends the endpoint's identities, except one that is another endpoint's by now.
func (e *Endpoint) unname() {
	s := e.service
	if s.byID[e.ID()] == e {
		delete(s.byID, e.ID())
	}
	if e.renamed {
		maps.DeleteFunc(s.byID, func(_ string, other *Endpoint) bool { return other == e })
	}
	s.identities.Add(1)
}

// idle reports whether nothing is under way on the endpoint.
func (e *Endpoint) idle() bool { return e.inFlight == 0 && e.sockets == 0 }

// poke tells the probe to look again now.
func (e *Endpoint) poke() {
	select {
	case e.poked <- struct{}{}:
	default:
	}
}

// settle derives the state from what the source and the probe say, and acts on a change of it.
func (e *Endpoint) settle() {
	switch {
	case e.state == Gone:
	case e.departed != "":
		e.enter(Draining, e.departed)
	case e.member.Phase == Leaving:
		e.enter(Draining, "its container was told to stop")
	case e.ordered:
		e.enter(Draining, "an operator has it drained")
	case e.member.Broken != "":
		e.enter(Failing, e.member.Broken)
	case e.ejected != "" && e.verdict == Ready:
		e.enter(Failing, e.ejected)
	default:
		e.enter(e.verdict, e.finding)
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
		s.enlist(e)
	case e.slot >= 0:
		s.delist(e)
	}
	if e.link != nil {
		switch {
		case state == Draining:
			e.link.Drain(s.settings.CloseWindow, reason)
		case from == Draining && state != Gone:
			e.link.Resume()
		}
	}
	s.r.opts.OnChange(Change{
		Service: s.name, Endpoint: e.ID(), Name: e.member.Name, Address: e.address,
		From: from, To: state, Reason: reason, Time: e.since,
	})
	if from == Ready && len(s.ready) == 0 {
		s.readmitAll()
	}
}

// enlist puts a ready endpoint into rotation and wakes who waits for one.
func (s *Service) enlist(e *Endpoint) {
	e.slot = len(s.ready)
	s.ready = append(s.ready, e)
	now := time.Now()
	if len(s.ready) == 1 {
		s.since = now
	}
	if s.settings.SlowStart > 0 {
		s.warming, s.warmAt = true, now.Add(s.settings.SlowStart)
	}
	if !s.closed {
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

// delist takes an endpoint out of rotation at the cost of one move, however many there are.
func (s *Service) delist(e *Endpoint) {
	last := len(s.ready) - 1
	s.ready[e.slot] = s.ready[last]
	s.ready[e.slot].slot = e.slot
	s.ready[last] = nil
	s.ready = s.ready[:last]
	e.slot = -1
	if last == 0 {
		s.since = time.Now()
	}
}

// depart ends an endpoint. Requests and sockets on it may finish, and are waited for; with cut, their connections are
// broken. Nothing new is sent there: the address may be another container's from now on.
func (s *Service) depart(e *Endpoint, reason string, cut bool) {
	e.departed = reason
	if e.stopProbe != nil {
		e.stopProbe()
	}
	if e.link != nil {
		e.link.Close()
		if cut {
			e.link.Cut()
		}
	}
	if e.idle() {
		s.forget(e)
		return
	}
	e.settle()
}

// forget removes an endpoint that has departed and on which nothing is under way.
func (s *Service) forget(e *Endpoint) {
	s.endpoints = slices.DeleteFunc(s.endpoints, func(other *Endpoint) bool { return other == e })
	e.unname()
	if e.stopProbe != nil {
		e.stopProbe()
	}
	if e.term != nil {
		e.term.Stop()
	}
	if e.terminating.timer != nil {
		e.terminating.timer.Stop()
	}
	e.enter(Gone, e.departed)
	if e.link == nil {
		return
	}
	e.link.Close() // once more: connections may have come back since
	traffic := e.link.Traffic()
	s.past.FromClients += traffic.FromClients
	s.past.FromEndpoint += traffic.FromEndpoint
}
