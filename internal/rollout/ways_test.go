package rollout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// change has a test's world changed in one respect.
type change = func(*world, *Rollout, context.CancelFunc)

func TestAServiceThatDoesNotRunIsJustStarted(t *testing.T) {
	roll(t, 1, func(w *world, _ *Rollout, _ context.CancelFunc) {
		w.end(w.of("web")[0], 0)
		w.lost, w.lowest = 0, 1
	}, func(t *testing.T, a *attempt) {
		if a.err != nil || !slices.Equal(a.versions(t), []string{"new"}) {
			t.Error(a.err)
		}
		a.printed(t, "no container of it runs")
	})
}

func TestContainersThatDoNotRunMakeRoom(t *testing.T) {
	roll(t, 3, func(w *world, _ *Rollout, _ context.CancelFunc) {
		w.end(w.of("web")[1], 0)
		w.lost, w.lowest = 0, 2
	}, func(t *testing.T, a *attempt) {
		a.must(t, "new", "new")
		a.printed(t, "removed shop-web-2, which did not run")
		a.printed(t, "2 run and stay 2; the file says 3")
	})
}

func TestAServiceWithoutARouteIsReplacedByCompose(t *testing.T) {
	noRoute := func(w *world, _ *Rollout, _ context.CancelFunc) { w.routed = nil }
	roll(t, 1, noRoute, func(t *testing.T, a *attempt) {
		if a.err != nil || !slices.Equal(a.versions(t), []string{"new"}) || len(a.commandsWith("drain")) > 0 {
			t.Error(a.err)
		}
		a.printed(t, "the edge has no route to it")
	})
	roll(t, 1, func(w *world, r *Rollout, cancel context.CancelFunc) {
		noRoute(w, r, cancel)
		w.onStart = func(b *box) { b.State.Status, b.State.ExitCode = "exited", 4 }
	}, func(t *testing.T, a *attempt) { a.failed(t, "shop-web-2 exited with status 4") })
}

// TestWhatAKilledRolloutLeftIsKept, be it that the edge was told to drain it: the file has been changed back.
func TestWhatAKilledRolloutLeftIsKept(t *testing.T) {
	roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) {
		w.create("web", 2)
		for _, b := range w.of("web")[:2] {
			b.draining = time.Now().Add(-time.Minute)
		}
		w.hashes["web"] = "old"
	}, func(t *testing.T, a *attempt) {
		a.must(t, "old", "old")
		a.printed(t, "shop-web-1, shop-web-2 of the new version already run, and are kept")
		if a.w.numbers["web"] != 4 {
			t.Error("more were started")
		}
	})
	roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) { w.create("web", 1) }, func(t *testing.T, a *attempt) {
		a.must(t, "new", "new")
		if a.w.numbers["web"] != 4 {
			t.Error("not one more was started")
		}
	})
}

func TestAnInterruptedRolloutBeginsNoOtherService(t *testing.T) {
	roll(t, 1, func(w *world, r *Rollout, cancel context.CancelFunc) {
		w.services["api"] = service{Image: webImage}
		r.Services = []string{"web", "api"}
		w.on = func(_ int, cmd string) {
			if strings.HasPrefix(cmd, "stop") {
				cancel()
			}
		}
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "web: interrupted; not begun: api")
		a.left(t, "new")
		a.printed(t, "interrupted too late to go back: it is finished")
	})
}

func TestOldContainersThatCanNotBeRemovedAreNamed(t *testing.T) {
	roll(t, 1, func(w *world, _ *Rollout, _ context.CancelFunc) {
		w.fail = func(_ int, cmd string, _ bool) error {
			if strings.HasPrefix(cmd, "rm") {
				return errors.New("device or resource busy")
			}
			return nil
		}
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "the new containers serve, but old ones are left")
		a.failed(t, "| docker rm --force "+a.w.of("web")[0].ID)
	})
}
