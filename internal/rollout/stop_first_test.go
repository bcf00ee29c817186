package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// withContainerName lets only one container of "web" exist.
func withContainerName(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
	s := w.services["web"]
	s.ContainerName = "web"
	w.services["web"] = s
}

func TestStopFirstDrainsBeforeStopping(t *testing.T) {
	runTestRollout(t, 1, withContainerName, func(t *testing.T, a *testRollout) {
		if a.err != nil || a.host.abortedRequests > 0 || !slices.Equal(a.runningVersions(t), []string{"new"}) {
			t.Errorf("%v, %d requests were cut", a.err, a.host.abortedRequests)
		}
		a.checkPrinted(t, "two can't run at once: its container_name web can exist once")
	})
}

// TestStopFirstKeepsOneContainerServingAfterAFailure: wherever it fails or is interrupted, one container serves, old or new.
func TestStopFirstKeepsOneContainerServingAfterAFailure(t *testing.T) {
	var commands []string
	runTestRollout(t, 1, withContainerName, func(t *testing.T, a *testRollout) { commands = a.host.commands })
	for i, cmd := range commands {
		for _, done := range []bool{false, true} {
			for _, interrupt := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %s %v %v", i, cmd, done, interrupt), func(t *testing.T) {
					runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
						withContainerName(w, r, cancel)
						w.failCommand = func(at int, _ string, after bool) error {
							switch {
							case at != i || after != done:
								return nil
							case interrupt:
								cancel()
								return nil
							default:
								return errors.New("exit status 1")
							}
						}
					}, func(t *testing.T, a *testRollout) {
						if a.host.abortedRequests > 0 || a.host.servingCount() != 1 {
							t.Errorf("%d requests were cut, %d are serving, error %v", a.host.abortedRequests, a.host.servingCount(), a.err)
						}
					})
				})
			}
		}
	}
}

func TestDrainTimeoutReportsAbortedRequests(t *testing.T) {
	slow := func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		for _, b := range w.containersOf("web") {
			b.drainDuration, b.sockets = time.Hour, 2
		}
	}
	runTestRollout(t, 1, slow, func(t *testing.T, a *testRollout) {
		if a.err != nil || a.elapsed < time.Minute || a.elapsed > 65*time.Second {
			t.Errorf("%v after %s, want a minute", a.err, a.elapsed)
		}
		a.checkPrinted(t, "except for 1 request and 2 sockets, which will be cut")
	})
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		slow(w, r, cancel)
		withContainerName(w, r, cancel)
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil || a.elapsed < 15*time.Second || a.elapsed > 20*time.Second {
			t.Errorf("in place: %v after %s, want 15 s", a.err, a.elapsed)
		}
	})
}

func TestStopFirstReportsABrokenVersion(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withContainerName(w, r, cancel)
		r.StopTimeout = 1500 * time.Millisecond
		w.onCreate = func(b *fakeContainer) { b.State.Status = "exited" }
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "shop-web-2 exited with status 0; the old container is gone, since two can't run at once")
		a.checkPrinted(t, "the last that shop-web-2 logged")
		if len(a.commandsWith("--scale web=1 -t 2 web")) != 1 {
			t.Error("it was not given 2 s to stop")
		}
	})
}
