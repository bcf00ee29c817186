package rollout

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/traffic"
)

func TestTrafficIsThatOfTheRoutesToTheServices(t *testing.T) {
	w := newFakeHost(t, 1)
	w.services["api"] = &compose.Service{Image: webImage}
	w.create("api", 1)
	w.routedServices = append(w.routedServices, "api")
	start := time.Unix(1000, 0).UTC()
	web, api := []traffic.Point{{Start: start, Requests: 10, Errors: 1}}, []traffic.Point{{Start: start, Requests: 5, Errors: 5, Maintenance: 2}}
	w.traffic = map[string][]traffic.Point{"web:80": web, "api:80": api, "elsewhere:80": {{Start: start, Requests: 1000, Errors: 1000}}}
	for services, want := range map[string]map[string][]traffic.Point{
		"web":     {"web:80": web},
		"web api": {"web:80": web, "api:80": api},
		"api api": {"api:80": api},
		"gone":    {},
	} {
		r := &Rollout{Docker: w, Edge: "edge", Services: strings.Fields(services)}
		if got, err := r.Traffic(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", services, got, err, want)
		}
	}
}
