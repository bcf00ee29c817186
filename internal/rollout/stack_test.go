package rollout

import (
	"context"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestImpossibleRolloutIsRefusedBeforeAnyChange(t *testing.T) {
	for name, c := range map[string]struct {
		set  setupFunc
		want string
	}{
		"an unknown service":   {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Services = []string{"wbe"} }, `has no service "wbe" | one of a profile needs --profile; there are: edge, web`},
		"the edge":             {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Services = []string{"edge"} }, "is the edge itself"},
		"an unknown edge":      {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Edge = "proxy" }, `has no service "proxy" that could be the edge`},
		"an edge that is down": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.exit(w.containersOf("edge")[0], 0) }, "0 containers of edge run"},
		"no route at all":      {func(w *fakeHost, r *Rollout, _ context.CancelFunc) { w.routedServices, r.Services = nil, nil }, "the edge has no route to any service"},
		"a paused container":   {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.containersOf("web")[1].State.Status = "paused" }, "shop-web-2 is paused | docker unpause shop-web-2"},
		"a wrong label": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			w.services["web"] = &compose.Service{Image: webImage, Labels: map[string]string{LabelRollout: "no"}}
		}, `label edge.rollout is "no"; want true or false`},
		"a changed network": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			w.dryRunOutput = " DRY-RUN MODE -  Container shop-db-1  Stopping \n DRY-RUN MODE -  Container shop-db-1  Stopped \n DRY-RUN MODE -  Network shop_data  Removed \n"
		}, "Container shop-db-1 Stopping, Network shop_data Removed | docker compose up --detach does it"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 2, c.set, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, c.want)
				for _, word := range []string{"compose up", "drain", "stop ", "rm "} {
					if got := a.commandsWith(word); len(got) > 0 {
						t.Errorf("the rollout ran %q", got)
					}
				}
			})
		})
	}
}
