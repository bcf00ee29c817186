package rollout

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestOneShotServicesRunFirstAndOnce(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withMigration(w, r, cancel)
		w.services["api"], w.routedServices = w.services["web"], []string{"api", "web"}
		w.configHashes["api"] = "old"
		w.create("api", 2)
		w.configHashes["api"] = "new"
		r.Services = nil
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		ups := a.commandsWith("compose up")
		if len(ups) != 3 || !strings.HasSuffix(ups[0], "--force-recreate migrate") || !strings.HasSuffix(ups[1], "api=4 api") {
			t.Errorf("got the commands %q", ups)
		}
	})
}

func TestOneShotServicesAreSkippedIfAsked(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withMigration(w, r, cancel)
		r.SkipOneShots = true
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		if ups := a.commandsWith("compose up"); len(ups) != 1 || strings.Contains(ups[0], "migrate") {
			t.Errorf("got the commands %q", ups)
		}
	})
}

func TestFailedOneShotServiceStopsTheRollout(t *testing.T) {
	for name, c := range map[string]struct {
		onCreate func(*fakeContainer)
		prepare  func(*fakeHost)
		want     string
	}{
		"it fails":                        {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "migrate exited with status 3; nothing else was changed"},
		"it runs already":                 {func(b *fakeContainer) {}, func(w *fakeHost) { w.create("migrate", 1) }, "shop-migrate-1, which has to complete first, runs already"},
		"it is removed":                   {nil, nil, "migrate: its container has been removed by another command"},
		"the next service is not started": {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "not begun: api"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
				withMigration(w, r, cancel)
				w.services["api"] = &compose.Service{Image: webImage}
				r.Services = []string{"web", "api"}
				w.onCreate = c.onCreate
				if c.prepare != nil {
					c.prepare(w)
				}
				if c.onCreate == nil {
					w.onCommand = func(int, string) {
						w.containers = slices.DeleteFunc(w.containers, func(b *fakeContainer) bool { return b.service == "migrate" })
					}
				}
			}, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, c.want)
				a.checkVersions(t, "old", "old")
			})
		})
	}
}

func TestOneShotsAreSortedByDependency(t *testing.T) {
	const done = `{"condition": "service_completed_successfully"}`
	stack := parseServices(t, `{
		"web": {"depends_on": {"seed": `+done+`, "migrate": `+done+`, "db": {"condition": "service_healthy"}, "gone": `+done+`}},
		"seed": {"depends_on": {"migrate": `+done+`}}, "migrate": {"depends_on": {"init": `+done+`}}, "init": {}, "db": {"depends_on": {"init": `+done+`}}
	}`)
	if got := joinNames(oneShotDependencies(stack, "web")); got != "init, migrate, seed" {
		t.Errorf("got %s, want init, migrate, seed", got)
	}
}
