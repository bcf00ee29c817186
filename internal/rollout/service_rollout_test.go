package rollout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

func TestStoppedServiceIsStarted(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		w.exit(w.containersOf("web")[0], 0)
		w.abortedRequests, w.minServing = 0, 1
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil || !slices.Equal(a.runningVersions(t), []string{"new"}) {
			t.Error(a.err)
		}
		a.checkPrinted(t, "no container of it runs")
	})
}

func TestStoppedContainersAreRemovedFirst(t *testing.T) {
	runTestRollout(t, 3, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		w.exit(w.containersOf("web")[1], 0)
		w.abortedRequests, w.minServing = 0, 2
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		a.checkPrinted(t, "removed shop-web-2, which did not run")
		a.checkPrinted(t, "2 run and stay 2; the file says 3")
	})
}

func TestServiceWithoutRouteIsRecreatedByCompose(t *testing.T) {
	noRoute := func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.routedServices = nil }
	runTestRollout(t, 1, noRoute, func(t *testing.T, a *testRollout) {
		if a.err != nil || !slices.Equal(a.runningVersions(t), []string{"new"}) || len(a.commandsWith("drain")) > 0 {
			t.Error(a.err)
		}
		a.checkPrinted(t, "the edge has no route to it")
	})
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		noRoute(w, r, cancel)
		w.onCreate = func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 4 }
	}, func(t *testing.T, a *testRollout) { a.checkFailed(t, "shop-web-2 exited with status 4") })
}

// TestContainersOfAKilledRolloutAreReused: first, the compose file has been changed back, and the containers that the killed
// rollout was about to replace are draining; then, the killed rollout has started one of two new containers.
func TestContainersOfAKilledRolloutAreReused(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		w.create("web", 2)
		for _, b := range w.containersOf("web")[:2] {
			b.drainedSince = time.Now().Add(-time.Minute)
		}
		w.configHashes["web"] = "old"
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old", "old")
		a.checkPrinted(t, "shop-web-1, shop-web-2 of the new version already run, and are kept")
		if a.host.lastNumber["web"] != 4 {
			t.Error("further containers were started")
		}
	})
	runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.create("web", 1) }, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		if a.host.lastNumber["web"] != 4 {
			t.Error("it did not start exactly one container")
		}
	})
}

// TestContainersAreDrainedByOtherEdgesBeforeTheyStop: these hear of it from the storage, after the edge has answered. Nobody knows which sessions they have.
func TestContainersAreDrainedByOtherEdgesBeforeTheyStop(t *testing.T) {
	for _, c := range []struct {
		answer string
		grace  time.Duration
		want   time.Duration
	}{
		{answer: `{"shared_within": "25s"}`, want: 28 * time.Second},
		{answer: `{"shared_within": "2s"}`, grace: 12 * time.Second, want: 17 * time.Second},
		{answer: `{"not_shared": "no space left on device"}`, want: 3 * time.Second},
	} {
		var drainedAt, stoppedAt time.Time
		runTestRollout(t, 1, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
			w.drainAnswer, w.drainTakes, r.SessionGrace = c.answer, 3*time.Second, c.grace
			w.onCommand = func(_ int, cmd string) {
				switch {
				case strings.Contains(cmd, "edge drain"):
					drainedAt = time.Now()
				case strings.Contains(cmd, "stop ") && stoppedAt.IsZero():
					stoppedAt = time.Now()
				}
			}
		}, func(t *testing.T, a *testRollout) {
			a.checkSucceeded(t, "new")
			if waited := stoppedAt.Sub(drainedAt); waited < c.want || waited > c.want+2*time.Second {
				t.Errorf("%s: the container was stopped %s after its drain began, want %s", c.answer, waited, c.want)
			}
			if strings.Contains(c.answer, "not_shared") {
				a.checkPrinted(t, "other edges that share the storage were not notified of the drain: no space left on device")
			}
		})
	}
	for answer, want := range map[string]string{
		`{"shared_within": "soon"}`: `read the answer of edge drain: time: invalid duration "soon"`, "{": "read the answer of edge drain: unexpected end of JSON input",
	} {
		runTestRollout(t, 1, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.drainAnswer = answer },
			func(t *testing.T, a *testRollout) { a.checkFailed(t, want) })
	}
}

func TestInterruptedRolloutStartsNoOtherService(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		w.services["api"] = &compose.Service{Image: webImage}
		r.Services = []string{"web", "api"}
		w.onCommand = func(_ int, cmd string) {
			if strings.HasPrefix(cmd, "stop") {
				cancel()
			}
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "web: interrupted; not begun: api")
		a.checkVersions(t, "new")
		a.checkPrinted(t, "interrupted too late to go back: it is finished")
	})
}

func TestRemainingOldContainersAreReported(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		w.failCommand = func(_ int, cmd string, _ bool) error {
			if strings.HasPrefix(cmd, "rm") {
				return errors.New("device or resource busy")
			}
			return nil
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "the new containers serve, but old ones are left")
		a.checkFailed(t, "| docker rm --force "+a.host.containersOf("web")[0].ID)
	})
}

// TestAnUpToDateServiceHasToBeReady if the caller wants to know: its containers may be those of a rollout that failed.
func TestAnUpToDateServiceHasToBeReady(t *testing.T) {
	upToDate := func(isReady, checks bool) setupFunc {
		return func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
			w.configHashes["web"] = "old"
			if !isReady {
				w.containersOf("web")[0].readyAt = time.Now().Add(time.Hour)
			}
			r.CheckUpToDate = checks
		}
	}
	runTestRollout(t, 1, upToDate(false, true), func(t *testing.T, a *testRollout) {
		if u, ok := errors.AsType[*UnreadyError](a.err); !ok || u.Service != "web" || !strings.Contains(a.err.Error(), "not ready within 1m0s") {
			t.Error(a.err)
		}
	})
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		upToDate(false, true)(w, r, cancel)
		time.AfterFunc(10*time.Second, cancel)
	}, func(t *testing.T, a *testRollout) {
		if _, isUnready := errors.AsType[*UnreadyError](a.err); isUnready || !errors.Is(a.err, errInterrupted) {
			t.Errorf("interrupted: %v", a.err)
		}
	})
	for _, c := range []struct{ isReady, checks bool }{{true, true}, {false, false}} {
		runTestRollout(t, 1, upToDate(c.isReady, c.checks), func(t *testing.T, a *testRollout) {
			if a.err != nil {
				t.Error(a.err)
			}
			a.checkPrinted(t, "nothing to do")
		})
	}
}

func TestReadinessIsCheckedWithoutWaiting(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(w *fakeHost)
		want string // "" for none
	}{
		"ready":           {func(*fakeHost) {}, ""},
		"starting":        {func(w *fakeHost) { w.containersOf("web")[0].readyAt = time.Now().Add(time.Hour) }, "shop-web-1 is starting"},
		"exited":          {func(w *fakeHost) { w.exit(w.containersOf("web")[0], 3) }, "exited with status 3"},
		"without a route": {func(w *fakeHost) { w.routedServices = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFakeHost(t, 1)
			c.set(w)
			err := (&Rollout{Docker: w, Edge: "edge", Services: []string{"web"}}).CheckReady(t.Context())
			u, ok := errors.AsType[*UnreadyError](err)
			if (c.want == "") != (err == nil) || err != nil && (!ok || u.Service != "web" || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
