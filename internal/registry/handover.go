package registry

import (
	"cmp"
	"slices"
	"time"
)

// EjectedEndpoint is an ejection as one process hands it to its successor, which would otherwise have to make the same bad experience.
type EjectedEndpoint struct {
	Service  string        `json:"service"`
	Endpoint string        `json:"endpoint"` // its identity
	Reason   string        `json:"reason"`
	Count    int           `json:"count"` // ejections in a row
	Left     time.Duration `json:"left"`  // until it ends
}

// ExportEjections returns the endpoints that are ejected.
func (r *Registry) ExportEjections() []EjectedEndpoint {
	var all []EjectedEndpoint
	for _, s := range r.allServices() {
		s.mu.Lock()
		for _, e := range s.endpoints {
			if e.ejection.isActive() {
				all = append(all, EjectedEndpoint{s.name, e.ID(), e.ejection.reason, e.ejection.count, max(time.Until(e.ejection.endsAt), 0)})
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b EjectedEndpoint) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return all
}

// ImportEjections ejects endpoints that another process has ejected, if they are ready here and not the last ones of their service.
func (r *Registry) ImportEjections(all []EjectedEndpoint) {
	for _, s := range r.allServices() {
		s.mu.Lock()
		for _, ejected := range all {
			if ejected.Service != s.name {
				continue
			}
			for _, e := range s.endpoints {
				if e.ID() == ejected.Endpoint && e.state == Ready && len(s.ready) >= 2 {
					e.ejection.resume(ejected, e.endEjection)
					e.updateState()
				}
			}
		}
		s.mu.Unlock()
	}
}

// ExportRetryBudgets returns what the retry budgets have counted in the last ten seconds, by service.
func (r *Registry) ExportRetryBudgets() map[string][]RetrySecond {
	all := map[string][]RetrySecond{}
	for _, s := range r.allServices() {
		s.mu.Lock()
		if seconds := s.retryBudget.recent(time.Now()); len(seconds) > 0 {
			all[s.name] = seconds
		}
		s.mu.Unlock()
	}
	return all
}

// ImportRetryBudgets counts what another process has counted, so that a service in trouble gets no more retries after a handover, and a
// healthy one no fewer.
func (r *Registry) ImportRetryBudgets(all map[string][]RetrySecond) {
	for _, s := range r.allServices() {
		s.mu.Lock()
		s.retryBudget.adopt(time.Now(), all[s.name])
		s.mu.Unlock()
	}
}

// allServices returns the declared services.
func (r *Registry) allServices() []*Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	services := make([]*Service, 0, len(r.services))
	for _, s := range r.services {
		services = append(services, s)
	}
	return services
}

// DrainedIDs returns the identities of the endpoints that an operator drains.
func (r *Registry) DrainedIDs() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.filterEndpoints(func(e *Endpoint) bool { return e.drain.isRequested }) {
		ids = append(ids, e.ID())
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
