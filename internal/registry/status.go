package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// ServiceStatus is a service at one instant, as the admin API and `edge status` show it.
type ServiceStatus struct {
	Service  string    `json:"service"`           // "bigcapital-server:3000"
	Ready    int       `json:"ready"`             // endpoints that take requests
	Since    time.Time `json:"since"`             // when it got its first or lost its last ready endpoint
	Held     int       `json:"held"`              // requests that wait for a ready endpoint
	InFlight int       `json:"in_flight"`         // requests on its endpoints
	Sockets  int       `json:"sockets"`           // open upgraded connections, such as WebSockets
	Traffic  Traffic   `json:"traffic"`           // bytes that those have carried, on all endpoints there were
	Retries  uint64    `json:"retries"`           // requests that were sent again
	Lost     Lost      `json:"lost"`              // requests without an answer
	Source   string    `json:"source,omitempty"`  // who decided: engine, dns or static; empty before anyone has
	Known    bool      `json:"known"`             // some container answers to the name, be it a stopped one
	Problem  string    `json:"problem,omitempty"` // what only its owner can mend
	// refuse or hold, while an operator has it in maintenance; not the registry's to say
	Maintenance string           `json:"maintenance,omitempty"`
	Endpoints   []EndpointStatus `json:"endpoints"`
}

// EndpointStatus is an endpoint at one instant.
type EndpointStatus struct {
	ID       string    `json:"id"`             // container ID, or address
	Name     string    `json:"name,omitempty"` // project/service/number
	Address  string    `json:"address"`
	State    State     `json:"state"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"` // when it entered the state
	Source   string    `json:"source"`
	InFlight int       `json:"in_flight"`
	Sockets  int       `json:"sockets"`
	Sessions int       `json:"sessions"` // of socket.io, that only this endpoint knows; not the registry's to say
	Requests uint64    `json:"requests"` // given to it so far
	Traffic  Traffic   `json:"traffic"`
}

// Snapshot returns all services, sorted by name, each consistent in itself.
func (r *Registry) Snapshot() []ServiceStatus {
	r.mu.Lock()
	services := make([]*Service, 0, len(r.services))
	for _, s := range r.services {
		services = append(services, s)
	}
	r.mu.Unlock()
	slices.SortFunc(services, func(a, b *Service) int { return cmp.Compare(a.name, b.name) })
	all := make([]ServiceStatus, 0, len(services))
	for _, s := range services {
		all = append(all, s.Status())
	}
	return all
}

// Status returns the service at this instant, its endpoints sorted by name and address.
func (s *Service) Status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ServiceStatus{
		Service: s.name, Ready: len(s.ready), Since: s.since, Held: s.held, Known: s.known,
		Problem: s.problem, Traffic: s.removedTraffic, Retries: s.requestCounters.retries.Load(), Lost: s.requestCounters.lost(),
		Endpoints: make([]EndpointStatus, 0, len(s.endpoints)),
	}
	if s.decided {
		status.Source = s.source.String()
	}
	for _, e := range s.endpoints {
		one := e.status()
		status.InFlight += one.InFlight
		status.Sockets += one.Sockets
		status.Traffic.FromClients += one.Traffic.FromClients
		status.Traffic.FromEndpoint += one.Traffic.FromEndpoint
		status.Endpoints = append(status.Endpoints, one)
	}
	slices.SortFunc(status.Endpoints, func(a, b EndpointStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
	})
	return status
}

// status returns the endpoint at this instant. The caller holds service.mu.
func (e *Endpoint) status() EndpointStatus {
	status := EndpointStatus{
		ID: e.ID(), Name: e.member.Name, Address: e.address, State: e.state, Reason: e.reason, Since: e.since,
		Source: e.source.String(), InFlight: e.inFlight, Sockets: e.sockets, Requests: e.requests,
	}
	if e.conns != nil {
		status.Traffic = e.conns.Traffic()
	}
	return status
}

// StateCounts returns how many endpoints are in each state; those that there are none in are there with 0.
func (s ServiceStatus) StateCounts() map[State]int {
	states := map[State]int{Starting: 0, Ready: 0, Failing: 0, Draining: 0}
	for _, e := range s.Endpoints {
		states[e.State]++
	}
	return states
}

// IsReady reports whether the service has a ready endpoint.
func (s *Service) IsReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

// Identities returns the identities that the endpoints have and have had, and a number that is another one when they may
// have changed.
func (s *Service) Identities() (ids []string, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.byID)), s.identitiesVersion.Load()
}

// IsSameEndpoint reports whether two identities are those of one endpoint, one of them a former one.
func (s *Service) IsSameEndpoint(id, other string) bool {
	if id == other {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	return e != nil && e == s.byID[other]
}

// IdentitiesVersion returns the number of [Service.Identities] without the cost of it.
func (s *Service) IdentitiesVersion() uint64 { return s.identitiesVersion.Load() }

// ReadyAddresses returns the addresses of the ready endpoints: for load balancing that is not ours.
func (s *Service) ReadyAddresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]string, len(s.ready))
	for i, e := range s.ready {
		addrs[i] = e.address
	}
	return addrs
}
