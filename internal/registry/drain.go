package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DrainOptions is an operator's word on endpoints: to finish what they have, and take nothing new.
type DrainOptions struct {
	// SessionGrace is for how long requests of sessions that began on an endpoint may still come to it.
	SessionGrace time.Duration
	// Undo takes an earlier word back.
	Undo bool
}

// DrainStatus is an endpoint that an operator has spoken of.
type DrainStatus struct {
	Service string `json:"service"`
	EndpointStatus
}

// ErrNoEndpoint is wrapped by the error of [Registry.Drain] for what is not known.
var ErrNoEndpoint = errors.New("no endpoint has this ID")

// minIDPrefix is the length of the shortest part of a container's ID that names it, as `docker ps` prints it.
const minIDPrefix = 12

// Drain has every endpoint drained, or no longer, that one of ids names: a container's ID, the first 12 or more characters
// of it, or an address. If one of them names nothing, or two containers, nothing is done. It holds until it is undone or
// the container is gone.
func (r *Registry) Drain(ids []string, d DrainOptions) ([]DrainStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*Endpoint
	var wrong []error
	for _, id := range ids {
		named, err := r.findEndpoints(id)
		if err != nil {
			wrong = append(wrong, err)
		}
		found = append(found, named...)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	all := make([]DrainStatus, 0, len(found))
	for _, e := range found {
		all = append(all, e.applyDrain(d))
	}
	return all, nil
}

// findEndpoints returns the endpoints that an ID, a part of one, or an address names. The caller holds r.mu.
func (r *Registry) findEndpoints(name string) ([]*Endpoint, error) {
	exact := r.filterEndpoints(func(e *Endpoint) bool { return e.ID() == name || e.address == name })
	if len(exact) > 0 {
		return exact, nil
	}
	if len(name) < minIDPrefix || strings.ContainsAny(name, ".:") { // a part of an address names nobody
		return nil, fmt.Errorf("%q: %w", name, ErrNoEndpoint)
	}
	found := r.filterEndpoints(func(e *Endpoint) bool { return strings.HasPrefix(e.ID(), name) })
	if len(found) == 0 {
		return nil, fmt.Errorf("%q: %w", name, ErrNoEndpoint)
	}
	if slices.ContainsFunc(found, func(e *Endpoint) bool { return e.ID() != found[0].ID() }) {
		return nil, fmt.Errorf("%q: more than one container's ID begins so", name)
	}
	return found, nil
}

// filterEndpoints returns those of all services that are chosen. The caller holds r.mu.
func (r *Registry) filterEndpoints(chosen func(*Endpoint) bool) (found []*Endpoint) {
	for _, s := range r.services {
		s.mu.Lock()
		for _, e := range s.endpoints {
			if chosen(e) {
				found = append(found, e)
			}
		}
		s.mu.Unlock()
	}
	return found
}

// applyDrain carries out an operator's word.
func (e *Endpoint) applyDrain(d DrainOptions) DrainStatus {
	s := e.service
	s.mu.Lock()
	defer s.mu.Unlock()
	e.drainRequested = !d.Undo
	e.stopExpected = e.drainRequested || !e.termination.since.IsZero()
	e.sessionsUntil = time.Now().Add(d.SessionGrace)
	e.updateState()
	return DrainStatus{s.name, e.status()}
}
