package rollout

import (
	"context"
	"slices"
	"strings"
	"testing"
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
			t.Errorf("started %q", ups)
		}
	})
}

func TestAOneShotServiceThatFailsStopsTheRollout(t *testing.T) {
	for name, c := range map[string]struct {
		onStart func(*fakeContainer)
		on      func(*fakeHost)
		says    string
	}{
		"it fails":           {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "migrate exited with status 3; nothing else was changed"},
		"it runs already":    {func(b *fakeContainer) {}, func(w *fakeHost) { w.create("migrate", 1) }, "shop-migrate-1, which has to complete first, runs already"},
		"it is removed":      {nil, nil, "migrate: its container has been removed by somebody else"},
		"what needs it, too": {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "not begun: api"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
				withMigration(w, r, cancel)
				w.services["api"] = service{Image: webImage}
				r.Services = []string{"web", "api"}
				w.onCreate = c.onStart
				if c.on != nil {
					c.on(w)
				}
				if c.onStart == nil {
					w.onCommand = func(int, string) {
						w.containers = slices.DeleteFunc(w.containers, func(b *fakeContainer) bool { return b.service == "migrate" })
					}
				}
			}, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, c.says)
				a.checkVersions(t, "old", "old")
			})
		})
	}
}
