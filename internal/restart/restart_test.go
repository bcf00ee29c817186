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
	unhealthy := func(id string, ago time.Duration) registry.EndpointStatus {
		return registry.EndpointStatus{ID: id, State: registry.Failing, ShouldRestart: true, Since: now.Add(-ago)}
	}
	service := func(name string, endpoints ...registry.EndpointStatus) registry.ServiceStatus {
		return registry.ServiceStatus{Service: name, Endpoints: endpoints}
	}
	inMaintenance := service("a:80", unhealthy("a", time.Hour))
	inMaintenance.Maintenance = "refuse"
	notLabelled := unhealthy("a", time.Hour)
	notLabelled.ShouldRestart = false
	for name, c := range map[string]struct {
		services []registry.ServiceStatus
		want     string
	}{
		"unhealthy for long enough": {[]registry.ServiceStatus{service("a:80", unhealthy("a", time.Minute))}, "a"},
		"one of two":                {[]registry.ServiceStatus{service("a:80", registry.EndpointStatus{ID: "b", State: registry.Ready}, unhealthy("a", time.Minute))}, "a"},
		"only just":                 {[]registry.ServiceStatus{service("a:80", unhealthy("a", 29*time.Second))}, ""},
		"without the label, or for another reason": {[]registry.ServiceStatus{service("a:80", notLabelled)}, ""},
		"in maintenance":                      {[]registry.ServiceStatus{inMaintenance}, ""},
		"beside one that starts":              {[]registry.ServiceStatus{service("a:80", unhealthy("a", time.Hour), registry.EndpointStatus{ID: "b", State: registry.Starting})}, ""},
		"beside one that drains":              {[]registry.ServiceStatus{service("a:80", unhealthy("a", time.Hour), registry.EndpointStatus{ID: "b", State: registry.Draining})}, ""},
		"in maintenance under its other port": {[]registry.ServiceStatus{service("a:81", unhealthy("a", time.Hour)), inMaintenance}, ""},
		"asked a moment ago":                  {[]registry.ServiceStatus{service("a:80", unhealthy("asked", time.Hour))}, ""},
		"asked long ago":                      {[]registry.ServiceStatus{service("a:80", unhealthy("asked long ago", time.Hour))}, "asked long ago"},
		"another one, asked a moment ago":     {[]registry.ServiceStatus{service("a:80", unhealthy("asked", time.Hour)), service("b:80", unhealthy("b", time.Hour))}, "b"},
	} {
		asked := map[string]time.Time{"asked": now.Add(-time.Second), "asked long ago": now.Add(-time.Hour)}
		got := ""
		if _, e := Next(c.services, now, 30*time.Second, asked); e != nil {
			got = e.ID
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestARefusedContainerIsAskedForOnceAMinute, while others get their turn.
func TestARefusedContainerIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		began := time.Now()
		asked, reported := make(map[string]int), 0
		Restarter{
			After: 30 * time.Second,
			Services: func() []registry.ServiceStatus {
				return []registry.ServiceStatus{{Service: "a:80", Endpoints: []registry.EndpointStatus{
					{ID: "a", State: registry.Failing, ShouldRestart: true, Since: began}, {ID: "b", State: registry.Failing, ShouldRestart: true, Since: began},
				}}}
			},
			Restart: func(_ context.Context, id string) error {
				asked[id]++
				return errors.New("refused")
			},
			OnRestart: func(string, registry.EndpointStatus, error) { reported++ },
		}.Run(ctx)
		if asked["a"] != 5 || asked["b"] != 5 || reported != 10 {
			t.Errorf("asked %v, reported %d", asked, reported)
		}
	})
}
