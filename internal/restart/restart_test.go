package restart

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestNextWaitsForThoseWhoAreAtWork(t *testing.T) {
	now := time.Now()
	unhealthy := func(id string) registry.EndpointStatus {
		return registry.EndpointStatus{ID: id, State: registry.Failing, ShouldRestart: true}
	}
	service := func(name string, endpoints ...registry.EndpointStatus) registry.ServiceStatus {
		return registry.ServiceStatus{Service: name, Endpoints: endpoints}
	}
	inMaintenance := service("a:80", unhealthy("a"))
	inMaintenance.Maintenance = "refuse"
	notLabelled := unhealthy("a")
	notLabelled.ShouldRestart = false
	for name, c := range map[string]struct {
		services []registry.ServiceStatus
		want     string
	}{
		"unhealthy for long enough": {[]registry.ServiceStatus{service("a:80", unhealthy("a"))}, "a"},
		"one of two":                {[]registry.ServiceStatus{service("a:80", registry.EndpointStatus{ID: "b", State: registry.Ready}, unhealthy("a"))}, "a"},
		"only just":                 {[]registry.ServiceStatus{service("a:80", unhealthy("just"))}, ""},
		"failing for long, unhealthy from now on":  {[]registry.ServiceStatus{service("a:80", unhealthy("new"))}, ""},
		"without the label, or for another reason": {[]registry.ServiceStatus{service("a:80", notLabelled)}, ""},
		"in maintenance":                      {[]registry.ServiceStatus{inMaintenance}, ""},
		"beside one that starts":              {[]registry.ServiceStatus{service("a:80", unhealthy("a"), registry.EndpointStatus{ID: "b", State: registry.Starting})}, ""},
		"beside one that drains":              {[]registry.ServiceStatus{service("a:80", unhealthy("a"), registry.EndpointStatus{ID: "b", State: registry.Draining})}, ""},
		"in maintenance under its other port": {[]registry.ServiceStatus{service("a:81", unhealthy("a")), inMaintenance}, ""},
		"asked for a moment ago":              {[]registry.ServiceStatus{service("a:80", unhealthy("asked"))}, ""},
		"another one, asked for a moment ago": {[]registry.ServiceStatus{service("a:80", unhealthy("asked")), service("b:80", unhealthy("a"))}, "a"},
	} {
		h := History{
			"a": {since: now.Add(-time.Minute)}, "just": {since: now.Add(-29 * time.Second)},
			"asked": {since: now.Add(-time.Hour), pauses: now.Add(time.Second)},
		}
		got := ""
		if _, e := h.Next(c.services, now, 30*time.Second); e != nil {
			got = e.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestARefusedContainerIsAskedForEachTenMinutes, and one that was restarted, and is unhealthy again, sooner; others get their turn.
func TestARefusedContainerIsAskedForEachTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		asked, reported := make(map[string]int), 0
		Restarter{
			After: 30 * time.Second,
			Services: func() []registry.ServiceStatus {
				return []registry.ServiceStatus{{Service: "a:80", Endpoints: []registry.EndpointStatus{
					{ID: "refused", State: registry.Failing, ShouldRestart: true}, {ID: "restarted", State: registry.Failing, ShouldRestart: true},
				}}}
			},
			Restart: func(_ context.Context, id string) error {
				asked[id]++
				if id == "refused" {
					return errors.New("refused")
				}
				return nil
			},
			OnRestart: func(string, registry.EndpointStatus, error) { reported++ },
		}.Run(ctx)
		if asked["refused"] != 3 || asked["restarted"] < 28 || asked["restarted"] > 30 || reported != asked["refused"]+asked["restarted"] {
			t.Errorf("asked %v, reported %d", asked, reported)
		}
	})
}
