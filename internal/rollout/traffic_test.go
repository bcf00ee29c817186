package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/traffic"
)

func TestTrafficIsTheSumOfTheRoutesToTheServices(t *testing.T) {
	w := newFakeHost(t, 1)
	w.services["api"] = &compose.Service{Image: webImage}
	w.create("api", 1)
	w.routedServices = append(w.routedServices, "api")
	first := time.Unix(1000, 0).UTC()
	second := first.Add(traffic.HistoryInterval)
	w.traffic = map[string][]traffic.Point{
		"web:80":       {{Start: first, Requests: 10, Errors: 1}, {Start: second, Requests: 20}},
		"api:80":       {{Start: first, Requests: 5, Errors: 5}, {Start: second, Requests: 7, Errors: 2}},
		"elsewhere:80": {{Start: first, Requests: 1000, Errors: 1000}},
	}
	for services, want := range map[string][]traffic.Point{
		"web":     {{Start: first, Requests: 10, Errors: 1}, {Start: second, Requests: 20}},
		"web api": {{Start: first, Requests: 15, Errors: 6}, {Start: second, Requests: 27, Errors: 2}},
	} {
		r := &Rollout{Docker: w, Edge: "edge", Services: strings.Fields(services)}
		if got, err := r.Traffic(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", services, got, err, want)
		}
	}
}
