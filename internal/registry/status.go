package registry

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// ServiceStatus is the state of a service at one instant, as the admin API and `edge status` show it.
type ServiceStatus struct {
	Service  string    `json:"service"`           // "bigcapital-server:3000"
	Projects []string  `json:"projects"`          // Compose projects that its name, or an endpoint, is of; sorted
	Ready    int       `json:"ready"`             // endpoints that take requests
	Since    time.Time `json:"since"`             // when it last got its first, or lost its last, ready endpoint
	Held     int       `json:"held"`              // requests that wait for a ready endpoint
	InFlight int       `json:"in_flight"`         // requests on its endpoints
	Sockets  int       `json:"sockets"`           // open upgraded connections, such as WebSockets
	Traffic  Traffic   `json:"traffic"`           // bytes that sockets have carried, on all present and former endpoints
	Retries  uint64    `json:"retries"`           // requests that were sent again
	Lost     Lost      `json:"lost"`              // requests without a complete answer
	Ejected  uint64    `json:"ejected"`           // how often an endpoint was ejected
	Drained  uint64    `json:"drained"`           // how often an endpoint began to drain
	Checks   Checks    `json:"checks"`            // of the probes
	Source   string    `json:"source,omitempty"`  // which source decides: engine, dns or static; empty until one has reported
	Known    bool      `json:"known"`             // some container has the name, even if it is stopped
	Problem  string    `json:"problem,omitempty"` // what only the owner of the name can solve
	// Unreachable says that containers with the name run, but are on no network of the edge's.
	Unreachable bool `json:"unreachable,omitempty"`
	// Maintenance is "refuse" or "hold" while the service is in maintenance, MaintenanceSince when that began; not set by the registry.
	Maintenance      string           `json:"maintenance,omitempty"`
	MaintenanceSince time.Time        `json:"maintenance_since,omitzero"`
	Endpoints        []EndpointStatus `json:"endpoints"`
}

// EndpointStatus is the state of an endpoint at one instant.
type EndpointStatus struct {
	ID      string    `json:"id"`                // container ID, or address
	Name    string    `json:"name,omitempty"`    // project/service/number
	Project string    `json:"project,omitempty"` // the Compose project
	Address string    `json:"address"`
	State   State     `json:"state"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"` // when it entered the state
	// ShouldRestart says that its container is unhealthy, and labelled to be restarted then.
	ShouldRestart bool    `json:"should_restart,omitempty"`
	Source        string  `json:"source"`
	InFlight      int     `json:"in_flight"`
	Sockets       int     `json:"sockets"`
	Sessions      int     `json:"sessions"`           // socket.io sessions that only this endpoint knows; not set by the registry
	Requests      uint64  `json:"requests"`           // that it has got so far
	Errors        uint64  `json:"errors"`             // responses with a status from 500 on, malformed ones, and requests that it got and did not answer
	FirstByte     float64 `json:"first_byte_seconds"` // the average of the last responses to requests without a body; 0: there was none
	Traffic       Traffic `json:"traffic"`
}

// Snapshot returns the status of all services, sorted by name. Each status is consistent in itself.
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

// Statuses returns the status of some services; those that are not declared are left out.
func (r *Registry) Statuses(names []string) []ServiceStatus {
	all := make([]ServiceStatus, 0, len(names))
	for _, name := range names {
		r.mu.Lock()
		s := r.services[name]
		r.mu.Unlock()
		if s != nil {
			all = append(all, s.Status())
		}
	}
	return all
}

// Has reports whether a route names a service.
func (r *Registry) Has(service string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.services[service] != nil
}

// Status returns the present state of the service, with its endpoints sorted by name and address.
func (s *Service) Status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ServiceStatus{
		Service: s.name, Projects: s.projects(), Ready: len(s.ready), Since: s.since, Held: s.queue.count, Known: s.known, Unreachable: s.unreachable,
		Problem: s.problem, Traffic: s.removedTraffic, Retries: s.counters.retries.Load(), Lost: s.counters.lost(),
		Ejected: s.counters.ejections.Load(), Drained: s.counters.drains.Load(),
		Checks:    Checks{s.counters.successfulChecks.Load(), s.counters.failedChecks.Load()},
		Endpoints: make([]EndpointStatus, 0, len(s.endpoints)),
	}
	if s.decided {
		status.Source = s.source.String()
	}
	for _, e := range s.endpoints {
		one := e.status()
		status.InFlight += one.InFlight
		status.Sockets += one.Sockets
		status.Traffic.add(one.Traffic)
		status.Endpoints = append(status.Endpoints, one)
	}
	slices.SortFunc(status.Endpoints, func(a, b EndpointStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
	})
	return status
}

// projects returns the Compose projects that the service's name, or an endpoint, is of, sorted. The caller holds s.mu.
func (s *Service) projects() []string {
	all := []string{}
	for _, n := range s.names {
		all = append(all, n.Project())
	}
	for _, e := range s.endpoints {
		all = append(all, e.member.Project)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(project string) bool { return project == "" })
}

// status returns the present state of the endpoint. The caller holds service.mu.
func (e *Endpoint) status() EndpointStatus {
	status := EndpointStatus{
		ID: e.ID(), Name: e.member.Name, Project: e.member.Project, Address: e.address, State: e.state, Reason: e.reason, Since: e.since,
		ShouldRestart: e.member.ShouldRestart, Source: e.source.String(), InFlight: e.inFlight, Sockets: e.sockets, Requests: e.requests,
		Errors: e.responses.errors.Load(), FirstByte: e.responses.firstByte.value().Seconds(),
	}
	if e.conns != nil {
		status.Traffic = e.conns.Traffic()
	}
	return status
}

// StateCounts returns the number of endpoints in each state but [Gone], also where it is 0.
func (s ServiceStatus) StateCounts() map[State]int {
	states := map[State]int{Starting: 0, Ready: 0, Failing: 0, Draining: 0}
	for _, e := range s.Endpoints {
		states[e.State]++
	}
	return states
}

// Outcome is what became of a request that got no answer from the service, or not all of it.
type Outcome int

// The outcomes of requests without a complete answer.
const (
	OutcomeRefused     Outcome = iota // no endpoint could take it in time
	OutcomeNotSent                    // the edge could make no connection in time
	OutcomeNotAnswered                // sent and not answered, without harm: its method is idempotent
	OutcomeUnknown                    // sent and not answered: only the application knows whether it acted on it
	OutcomeIncomplete                 // the connection to the endpoint ended before the end of its answer
	outcomeCount                      // the number of outcomes
)

// String returns the outcome's name in logs, metrics and the admin API.
func (o Outcome) String() string {
	return [...]string{"refused", "not sent", "not answered", "unknown", "incomplete"}[o]
}

// Lost counts the requests without a complete answer, by outcome, since a route first named the service.
type Lost struct {
	Refused     uint64 `json:"refused"`
	NotSent     uint64 `json:"not_sent"`
	NotAnswered uint64 `json:"not_answered"`
	Unknown     uint64 `json:"unknown"`
	Incomplete  uint64 `json:"incomplete"`
}

// CountLost counts a request without a complete answer.
func (s *Service) CountLost(o Outcome) { s.counters.outcomes[o].Add(1) }

// counters counts what happened to a service and its endpoints.
type counters struct {
	outcomes                       [outcomeCount]atomic.Uint64
	retries                        atomic.Uint64
	ejections, drains              atomic.Uint64
	successfulChecks, failedChecks atomic.Uint64
}

func (c *counters) lost() Lost {
	return Lost{
		Refused:     c.outcomes[OutcomeRefused].Load(),
		NotSent:     c.outcomes[OutcomeNotSent].Load(),
		NotAnswered: c.outcomes[OutcomeNotAnswered].Load(),
		Unknown:     c.outcomes[OutcomeUnknown].Load(),
		Incomplete:  c.outcomes[OutcomeIncomplete].Load(),
	}
}

// Checks counts the checks of the endpoints' probes, since a route first named the service.
type Checks struct {
	Successful uint64 `json:"successful"`
	Failed     uint64 `json:"failed"`
}

// Connected returns, for each source that is required or connected, whether it is connected to what it reads, by its name. Docker's DNS is not required on a host,
// where it may not be reached.
func (r *Registry) Connected() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	sources := make(map[string]bool)
	for i := range r.online {
		if r.online[i] || r.required[i] {
			sources[Source(i).String()] = r.online[i]
		}
	}
	return sources
}
