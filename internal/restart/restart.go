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
	// pause is the time between two requests for the same container.
	pause = time.Minute
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
	asked := make(map[string]time.Time) // the last attempts, by container
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		service, e := Next(r.Services(), now, r.After, asked)
		if e == nil {
			continue
		}
		asked[e.ID] = now
		err := r.Restart(ctx, e.ID)
		if ctx.Err() != nil {
			return
		}
		r.OnRestart(service, *e, err)
	}
}

// Next returns the endpoint whose container is to be restarted now, and its service; nil if there is none. Those of a service in maintenance, or of one
// with a container that starts or drains, wait: an operator, a rollout, Docker or an earlier restart is at work there. asked has the times of earlier
// attempts; Next forgets those that do not matter any more.
func Next(services []registry.ServiceStatus, now time.Time, after time.Duration, asked map[string]time.Time) (string, *registry.EndpointStatus) {
	for container, at := range asked {
		if now.Sub(at) >= pause {
			delete(asked, container)
		}
	}
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
			_, wasAsked := asked[e.ID]
			if e.ShouldRestart && e.State == registry.Failing && now.Sub(e.Since) >= after && !busy[e.ID] && !wasAsked {
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
