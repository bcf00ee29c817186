package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// withContainerName gives "web" a container_name, so that two containers cannot exist.
func withContainerName(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
	w.services["web"].ContainerName = "web"
}

func TestStopFirstDrainsBeforeStopping(t *testing.T) {
	runTestRollout(t, 1, withContainerName, func(t *testing.T, a *testRollout) {
		if a.err != nil || a.host.abortedRequests > 0 || !slices.Equal(a.runningVersions(t), []string{"new"}) {
			t.Errorf("error %v, %d requests were aborted", a.err, a.host.abortedRequests)
		}
		a.checkPrinted(t, "two can't run at once: its container_name web can exist once")
	})
}

// TestStopFirstKeepsOneContainerServingAfterAFailure lets each command fail, or interrupts the rollout there. One container, old or
// new, serves at the end.
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
							t.Errorf("%d requests were aborted, %d containers serve, error %v", a.host.abortedRequests, a.host.servingCount(), a.err)
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
			t.Errorf("error %v after %s, want none after a minute", a.err, a.elapsed)
		}
		a.checkPrinted(t, "except for 1 request and 2 sockets, which will be cut")
	})
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		slow(w, r, cancel)
		withContainerName(w, r, cancel)
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil || a.elapsed < 15*time.Second || a.elapsed > 20*time.Second {
			t.Errorf("stop first: error %v after %s, want none after 15 s", a.err, a.elapsed)
		}
	})
}

func TestStopFirstReportsABrokenVersion(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withContainerName(w, r, cancel)
		r.StopTimeout = 1500 * time.Millisecond
		w.onCreate = func(b *fakeContainer) { b.State.Status = "exited" }
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "`docker compose up web` runs it; the old container is gone, since two can't run at once")
		a.checkPrinted(t, "the last that shop-web-2 logged")
		if len(a.commandsWith("--scale web=1 -t 2 web")) != 1 {
			t.Error("Compose did not get -t 2, the stop timeout in whole seconds")
		}
	})
}
