package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/compose"
)

// undisturbedCommands returns the commands of a rollout that succeeds. Tests interrupt a rollout, or let it fail, at each of them.
func undisturbedCommands(t *testing.T, set func(*fakeHost, *Rollout, context.CancelFunc)) (commands []string) {
	t.Helper()
	runTestRollout(t, 2, set, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		commands = a.host.commands
	})
	return commands
}

// withMigration adds a one-shot service that "web" depends on. New containers are ready after a second.
func withMigration(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
	two := 2
	w.services["migrate"] = &compose.Service{Image: webImage}
	w.services["web"] = &compose.Service{
		Image: webImage, Scale: &two,
		DependsOn: map[string]compose.Dependency{"migrate": {Condition: "service_completed_successfully"}},
	}
	w.onCreate = func(b *fakeContainer) {
		b.readyAt = time.Now().Add(time.Second)
		if b.service == "migrate" {
			b.State.Status = "exited"
		}
	}
}

// TestInterruptAtAnyCommandKeepsTheServiceUp ends the rollout's context at each of its commands, before and after its execution.
func TestInterruptAtAnyCommandKeepsTheServiceUp(t *testing.T) {
	for i, cmd := range undisturbedCommands(t, withMigration) {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s %v", i, cmd, done), func(t *testing.T) {
				runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
					withMigration(w, r, cancel)
					w.failCommand = func(at int, _ string, after bool) error {
						if at == i && after == done {
							cancel()
						}
						return nil
					}
				}, func(t *testing.T, a *testRollout) {
					stopped := len(a.commandsWith("stop ")) > 0 && strings.Contains(a.commandsWith("stop ")[0], firstWebID(a.host))
					switch {
					case a.err == nil && stopped:
						a.checkSucceeded(t, "new", "new")
					case a.err == nil:
						t.Error("the interrupted rollout reports success")
					default:
						a.checkFailed(t, "interrupted")
						a.checkVersions(t, "old", "old")
					}
				})
			})
		}
	}
}

// firstWebID returns the ID of the first container of "web".
func firstWebID(w *fakeHost) string {
	copied := &fakeHost{t: w.t, lastNumber: map[string]int{"edge": 1}, services: w.services, configHashes: w.configHashes, imageIDs: w.imageIDs}
	copied.create("web", 1)
	return copied.containers[0].ID
}

// TestFailureOfAnyCommandKeepsTheServiceUp lets each command of a rollout fail once, before or after its execution.
func TestFailureOfAnyCommandKeepsTheServiceUp(t *testing.T) {
	commands := undisturbedCommands(t, withMigration)
	for i, cmd := range commands {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s %v", i, cmd, done), func(t *testing.T) {
				runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
					withMigration(w, r, cancel)
					w.failCommand = func(at int, _ string, after bool) error {
						if at == i && after == done {
							return errors.New("exit status 1: broken")
						}
						return nil
					}
				}, func(t *testing.T, a *testRollout) {
					if a.host.abortedRequests > 0 || a.host.minServing < 2 {
						t.Errorf("%d requests were aborted, and at least %d containers served at any time", a.host.abortedRequests, a.host.minServing)
					}
					if a.host.servingCount() < 2 {
						t.Errorf("%d containers serve at the end", a.host.servingCount())
					}
					if a.err == nil {
						a.checkSucceeded(t, "new", "new")
					}
				})
			})
		}
	}
}

// TestUnreachableEdgeLosesNoRequests: the rollout removes no container that serves.
func TestUnreachableEdgeLosesNoRequests(t *testing.T) {
	for i, cmd := range undisturbedCommands(t, nil) {
		if !strings.Contains(cmd, "exec") {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i, cmd), func(t *testing.T) {
			runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
				w.failCommand = func(at int, cmd string, _ bool) error {
					if at >= i && strings.Contains(cmd, "exec") {
						return errors.New("container edge is not running")
					}
					return nil
				}
			}, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, "ask the edge")
				if a.host.abortedRequests > 0 || a.host.servingCount() < 2 {
					t.Errorf("%d requests were aborted, %d containers serve", a.host.abortedRequests, a.host.servingCount())
				}
			})
		})
	}
}

// TestRestartedEdgeIsToldToDrainAgain: a restarted edge does not know of the drain, and at first knows no endpoint.
func TestRestartedEdgeIsToldToDrainAgain(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		var down time.Time
		w.onCommand = func(int, string) {
			if since := w.containersOf("web")[0].drainedSince; down.IsZero() && !since.IsZero() && time.Since(since) > time.Second {
				down = time.Now()
			}
			for _, b := range w.containersOf("web") {
				b.unknownToEdge = !down.IsZero() && time.Since(down) < 3*time.Second
				if b.unknownToEdge {
					b.drainedSince = time.Time{}
				}
			}
		}
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil || !slices.Equal(a.runningVersions(t), []string{"new", "new"}) || a.host.abortedRequests > 0 {
			t.Errorf("error %v, %d requests were aborted", a.err, a.host.abortedRequests)
		}
		if n := len(a.commandsWith("drain")); n != 2 {
			t.Errorf("the edge got %d drain commands, want 2", n)
		}
	})
}

// TestContainersThatVanishDoNotFailTheRollout: `edge drain` and `docker inspect` fail for a container that has just been removed.
func TestContainersThatVanishDoNotFailTheRollout(t *testing.T) {
	for _, at := range []string{"drain --sessions", "inspect --type container"} {
		runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			w.onCommand = func(_ int, cmd string) {
				if old := w.containersOf("web")[0]; w.lastNumber["web"] == 4 && strings.Contains(cmd, at) && len(w.containersOf("web")) == 4 {
					w.containers = slices.DeleteFunc(w.containers, func(b *fakeContainer) bool { return b == old })
				}
			}
		}, func(t *testing.T, a *testRollout) { a.checkSucceeded(t, "new", "new") })
	}
}

func TestSecondInterruptSkipsTheDrainWait(t *testing.T) {
	forceStop := make(chan struct{})
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		r.ForceStop = forceStop
		w.onCreate = func(b *fakeContainer) { b.drainDuration = time.Hour }
		w.onCommand = func(_ int, cmd string) {
			if strings.Contains(cmd, "drain") && !strings.Contains(cmd, "--undo") {
				cancel()
			}
			if strings.Contains(cmd, "drain") && strings.Contains(cmd, "--sessions 0s") {
				close(forceStop)
			}
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "interrupted")
		if got := a.runningVersions(t); !slices.Equal(got, []string{"old", "old"}) || a.elapsed > 10*time.Second {
			t.Errorf("%v run after %s, want two old containers within 10 s", got, a.elapsed)
		}
		a.checkPrinted(t, "not waiting for what is under way on shop-web-3, shop-web-4")
	})
}

func TestNewContainersThatDieDuringDrainAreRolledBack(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		r.SessionGrace = 10 * time.Second
		w.onCommand = func(int, string) {
			if since := w.containersOf("web")[0].drainedSince; !since.IsZero() && time.Since(since) > 3*time.Second {
				for _, b := range w.containersOf("web")[2:] {
					b.State.Status, b.State.ExitCode = "exited", 9
				}
			}
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "shop-web-3 exited with status 9; the new containers are removed, the old ones serve as before")
		if got := a.runningVersions(t); !slices.Equal(got, []string{"old", "old"}) {
			t.Errorf("%v run, want two old containers", got)
		}
	})
}

// TestNewContainersStayIfOldOnesAreNotReadyAgain interrupts the drain of the old containers, which then do not become ready.
func TestNewContainersStayIfOldOnesAreNotReadyAgain(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, cancel context.CancelFunc) {
		w.onCommand = func(_ int, cmd string) {
			if strings.Contains(cmd, "drain --sessions 2s") {
				cancel()
				for _, b := range w.containersOf("web")[:2] {
					b.readyAt = time.Now().Add(time.Hour)
				}
			}
		}
	}, func(t *testing.T, a *testRollout) {
		a.checkFailed(t, "the new containers stay beside the old ones")
		if got := a.runningVersions(t); !slices.Equal(got, []string{"new", "new", "old", "old"}) || a.host.servingCount() != 2 {
			t.Errorf("%v run, and %d serve; want all four, and two", got, a.host.servingCount())
		}
	})
}

// TestNewContainersStayIfOtherEdgesStillDrainTheOldOnes: the storage cannot be written when the drain is undone. If it can be again, the rollout goes back.
func TestNewContainersStayIfOtherEdgesStillDrainTheOldOnes(t *testing.T) {
	for _, c := range []struct{ wasShared, recovers bool }{{true, false}, {true, true}, {false, false}} {
		runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, cancel context.CancelFunc) {
			const failed = `{"not_shared": "no space left on device"}`
			isDrained, undone := false, 0
			w.onCommand = func(_ int, cmd string) {
				switch {
				case strings.Contains(cmd, "drain --sessions 2s"):
					if isDrained = true; !c.wasShared {
						w.drainAnswer = failed
					}
				case isDrained && strings.Contains(cmd, "edge status"):
					cancel()
				case strings.Contains(cmd, "drain --undo"):
					w.drainAnswer = failed
					if undone++; c.recovers && undone == 3 {
						w.drainAnswer = "{}"
					}
				}
			}
		}, func(t *testing.T, a *testRollout) {
			want, serving := []string{"new", "new", "old", "old"}, "other edges that share the storage still drain them: no space left on device"
			if c.recovers || !c.wasShared { // of a drain that was not shared, others need not know the end
				want, serving = []string{"old", "old"}, "the old ones serve as before"
			}
			a.checkFailed(t, serving)
			if got := a.runningVersions(t); !slices.Equal(got, want) {
				t.Errorf("%v run, want %v", got, want)
			}
		})
	}
}
