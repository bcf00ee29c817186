// Package restart decides when the container of an endpoint is restarted because Docker's health check says that it is unhealthy.
//
// Docker itself restarts a container that has ended, and never one that is unhealthy.
package restart

import (
	"context"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

const (
	// DefaultAfter is how long a container must have been failing by default. Docker has then found it unhealthy several times.
	DefaultAfter = 30 * time.Second
	// interval is the time between two looks.
	interval = time.Second
	// pause is the time until the next request for a container that was restarted, and longPause if that was refused, or failed.
	pause     = time.Minute
	longPause = 10 * time.Minute
)

// Restarter asks for restarts.
type Restarter struct {
	After    time.Duration
	Services func() []registry.ServiceStatus // with their maintenance
	// Restart restarts a container. It may refuse to.
	Restart func(ctx context.Context, container string) error
	// OnRestart is called after each attempt.
	OnRestart func(service string, e registry.EndpointStatus, err error)
}

// Run asks for restarts, one after the other, until ctx ends.
func (r Restarter) Run(ctx context.Context) {
	h := make(History)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		service, e := h.Next(r.Services(), now, r.After)
		if e == nil {
			continue
		}
		err := r.Restart(ctx, e.ID)
		if ctx.Err() != nil {
			return
		}
		h.note(e.ID, time.Now(), err)
		r.OnRestart(service, *e, err)
	}
}

// History is what has been seen of unhealthy containers, by their IDs.
type History map[string]*sighting

// sighting is what has been seen of one container.
type sighting struct {
	since  time.Time // it has been unhealthy without a break
	pauses time.Time // until then, it is left alone
}

// note notes an attempt to restart a container.
func (h History) note(container string, now time.Time, err error) {
	until := now.Add(pause)
	if err != nil {
		until = now.Add(longPause)
	}
	h[container] = &sighting{since: now, pauses: until}
}

// update notes which containers are unhealthy, and forgets those that are not any more.
func (h History) update(services []registry.ServiceStatus, now time.Time) {
	isUnhealthy := make(map[string]bool)
	for _, s := range services {
		for _, e := range s.Endpoints {
			if e.ShouldRestart {
				isUnhealthy[e.ID] = true
			}
		}
	}
	for container := range isUnhealthy {
		if h[container] == nil {
			h[container] = &sighting{since: now}
		}
	}
	for container, seen := range h {
		if !isUnhealthy[container] && now.After(seen.pauses) {
			delete(h, container)
		}
	}
}

// Next returns the endpoint whose container is to be restarted now, because it has been unhealthy for so long, and its service; nil if there is none. Those of a
// service in maintenance, or of one with a container that starts or drains, wait: an operator, a rollout, Docker or an earlier restart is at work there.
func (h History) Next(services []registry.ServiceStatus, now time.Time, after time.Duration) (string, *registry.EndpointStatus) {
	h.update(services, now)
	busy := make(map[string]bool) // containers that another of their services has in use
	for _, s := range services {
		if isAtRest(s) {
			continue
		}
		for _, e := range s.Endpoints {
			busy[e.ID] = true
		}
	}
	for _, s := range services {
		for i, e := range s.Endpoints {
			if !e.ShouldRestart || e.State != registry.Failing || busy[e.ID] {
				continue
			}
			if seen := h[e.ID]; now.Sub(seen.since) >= after && now.After(seen.pauses) {
				return s.Service, &s.Endpoints[i]
			}
		}
	}
	return "", nil
}

// isAtRest reports whether nobody is changing the containers of a service.
func isAtRest(s registry.ServiceStatus) bool {
	if s.Maintenance != "" {
		return false
	}
	for _, e := range s.Endpoints {
		if e.State == registry.Starting || e.State == registry.Draining {
			return false
		}
	}
	return true
}
