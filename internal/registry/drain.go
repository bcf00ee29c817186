package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DrainOptions are an operator's request to drain endpoints: they finish the requests that they have, and get no new ones.
type DrainOptions struct {
	// SessionGrace is for how long a drained endpoint still gets requests of sessions that began on it.
	SessionGrace time.Duration
	// Undo cancels an earlier drain.
	Undo bool
	// FoundBefore leaves out endpoints that were found later, if it is not zero: a container that has exited and started again is another endpoint with the same ID.
	FoundBefore time.Time
}

// DrainStatus is an endpoint that an operator has drained, or no longer drains.
type DrainStatus struct {
	Service string `json:"service"`
	EndpointStatus
}

// ErrNoEndpoint is wrapped by the error of [Registry.Drain] for each ID that no endpoint has.
var ErrNoEndpoint = errors.New("no endpoint has this ID")

// minIDPrefix is the length of the shortest accepted prefix of a container ID, as `docker ps` prints it.
const minIDPrefix = 12

// drain is an operator's drain of one endpoint. It is guarded by service.mu.
type drain struct {
	isRequested   bool
	sessionsUntil time.Time // until when the endpoint gets requests of its sessions
}

// Drain drains every endpoint that one of ids names, or cancels that. An ID is a container ID, the first 12 or more characters
// of one, a name ("shop/web/1"), or an address. If one of them names nothing, or two containers, Drain changes nothing and returns an error. A drain
// lasts until it is undone or the container is gone.
func (r *Registry) Drain(ids []string, opts DrainOptions) ([]DrainStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*Endpoint
	var errs []error
	for _, id := range ids {
		matching, err := r.findEndpoints(id)
		if err == nil && !opts.FoundBefore.IsZero() {
			matching = slices.DeleteFunc(matching, func(e *Endpoint) bool { return !e.found.Before(opts.FoundBefore) })
			if len(matching) == 0 {
				err = fmt.Errorf("%q was found after %s: %w", id, opts.FoundBefore.Format(time.TimeOnly), ErrNoEndpoint)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
		found = append(found, matching...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	all := make([]DrainStatus, 0, len(found))
	for _, e := range found {
		all = append(all, e.applyDrain(opts))
	}
	return all, nil
}

// findEndpoints returns the endpoints that an ID, a prefix of one, or an address names. The caller holds r.mu.
func (r *Registry) findEndpoints(name string) ([]*Endpoint, error) {
	exact := r.filterEndpoints(func(e *Endpoint) bool {
		return e.ID() == name || e.address == name || e.member.Name == name && name != ""
	})
	if len(exact) > 0 {
		return exact, nil
	}
	if len(name) < minIDPrefix || strings.ContainsAny(name, ".:") { // a prefix of an address names nothing
		return nil, fmt.Errorf("%q: %w", name, ErrNoEndpoint)
	}
	found := r.filterEndpoints(func(e *Endpoint) bool { return strings.HasPrefix(e.ID(), name) })
	if len(found) == 0 {
		return nil, fmt.Errorf("%q: %w", name, ErrNoEndpoint)
	}
	if slices.ContainsFunc(found, func(e *Endpoint) bool { return e.ID() != found[0].ID() }) {
		return nil, fmt.Errorf("%q: more than one container ID begins with this", name)
	}
	return found, nil
}

// filterEndpoints returns the endpoints of all services for which isMatch returns true. The caller holds r.mu.
func (r *Registry) filterEndpoints(isMatch func(*Endpoint) bool) (found []*Endpoint) {
	for _, s := range r.services {
		s.mu.Lock()
		for _, e := range s.endpoints {
			if isMatch(e) {
				found = append(found, e)
			}
		}
		s.mu.Unlock()
	}
	return found
}

// applyDrain drains the endpoint, or cancels that, and returns its new status.
func (e *Endpoint) applyDrain(opts DrainOptions) DrainStatus {
	s := e.service
	s.mu.Lock()
	defer s.mu.Unlock()
	e.drain = drain{isRequested: !opts.Undo, sessionsUntil: time.Now().Add(opts.SessionGrace)}
	e.updateState()
	return DrainStatus{s.name, e.status()}
}
