package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// script returns the commands of a rollout that nothing disturbs: the points at which one can be disturbed.
func script(t *testing.T, set func(*world, *Rollout, context.CancelFunc)) (commands []string) {
	t.Helper()
	roll(t, 2, set, func(t *testing.T, a *attempt) {
		a.must(t, "new", "new")
		commands = a.w.commands
	})
	return commands
}

// withMigration has "web" depend on a one-shot service, and take a while to be ready.
func withMigration(w *world, _ *Rollout, _ context.CancelFunc) {
	two := 2
	w.services["migrate"] = service{Image: webImage}
	w.services["web"] = service{
		Image: webImage, Scale: &two,
		DependsOn: map[string]dependency{"migrate": {Condition: "service_completed_successfully"}},
	}
	w.onStart = func(b *box) {
		b.readyAt = time.Now().Add(time.Second)
		if b.service == "migrate" {
			b.State.Status = "exited"
		}
	}
}

// TestWhereverItIsInterruptedTheServiceGoesOn ends the rollout's context at each of its commands: before the command does
// anything, and when it has just done it.
func TestWhereverItIsInterruptedTheServiceGoesOn(t *testing.T) {
	for i, cmd := range script(t, withMigration) {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s %v", i, cmd, done), func(t *testing.T) {
				roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
					withMigration(w, r, cancel)
					w.fail = func(at int, _ string, after bool) error {
						if at == i && after == done {
							cancel()
						}
						return nil
					}
				}, func(t *testing.T, a *attempt) {
					stopped := len(a.commandsWith("stop ")) > 0 && strings.Contains(a.commandsWith("stop ")[0], firstID(a.w))
					switch {
					case a.err == nil && stopped:
						a.must(t, "new", "new")
					case a.err == nil:
						t.Error("it was interrupted, and says that it succeeded")
					default:
						a.failed(t, "interrupted")
						a.left(t, "old", "old")
					}
				})
			})
		}
	}
}

// firstID returns the ID of the first container that "web" had.
func firstID(w *world) string {
	probe := &world{t: w.t, numbers: map[string]int{"edge": 1}, services: w.services, hashes: w.hashes, images: w.images}
	probe.create("web", 1)
	return probe.present[0].ID
}

// TestWhicheverCommandFailsTheServiceGoesOn fails each command of a rollout, once or from then on, with and without having
// done what it should.
func TestWhicheverCommandFailsTheServiceGoesOn(t *testing.T) {
	commands := script(t, withMigration)
	for i, cmd := range commands {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s %v", i, cmd, done), func(t *testing.T) {
				roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
					withMigration(w, r, cancel)
					w.fail = func(at int, _ string, after bool) error {
						if at == i && after == done {
							return errors.New("exit status 1: out of order")
						}
						return nil
					}
				}, func(t *testing.T, a *attempt) {
					if a.w.lost > 0 || a.w.lowest < 2 {
						t.Errorf("%d requests were cut, %d were serving at the worst moment", a.w.lost, a.w.lowest)
					}
					if a.w.serving() < 2 {
						t.Errorf("%d are serving in the end", a.w.serving())
					}
					if a.err == nil {
						a.must(t, "new", "new")
					}
				})
			})
		}
	}
}

// TestAnEdgeThatCanNotBeAskedAnyMoreLosesNothing: whatever serves stays.
func TestAnEdgeThatCanNotBeAskedAnyMoreLosesNothing(t *testing.T) {
	for i, cmd := range script(t, nil) {
		if !strings.Contains(cmd, "exec") {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i, cmd), func(t *testing.T) {
			roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) {
				w.fail = func(at int, cmd string, _ bool) error {
					if at >= i && strings.Contains(cmd, "exec") {
						return errors.New("container edge is not running")
					}
					return nil
				}
			}, func(t *testing.T, a *attempt) {
				a.failed(t, "ask the edge")
				if a.w.lost > 0 || a.w.serving() < 2 {
					t.Errorf("%d requests were cut, %d are serving", a.w.lost, a.w.serving())
				}
			})
		})
	}
}

// TestAnEdgeThatIsStartedAgainIsToldOnceMore: it has forgotten that the old ones drain, and for a moment knows nobody.
func TestAnEdgeThatIsStartedAgainIsToldOnceMore(t *testing.T) {
	roll(t, 2, func(w *world, r *Rollout, _ context.CancelFunc) {
		var down time.Time
		w.on = func(int, string) {
			if since := w.of("web")[0].draining; down.IsZero() && !since.IsZero() && time.Since(since) > time.Second {
				down = time.Now()
			}
			for _, b := range w.of("web") {
				b.unknown = !down.IsZero() && time.Since(down) < 3*time.Second
				if b.unknown {
					b.draining = time.Time{}
				}
			}
		}
	}, func(t *testing.T, a *attempt) {
		if a.err != nil || !slices.Equal(a.versions(t), []string{"new", "new"}) || a.w.lost > 0 {
			t.Errorf("%v, %d lost", a.err, a.w.lost)
		}
		if n := len(a.commandsWith("drain")); n != 2 {
			t.Errorf("it was told %d times", n)
		}
	})
}

// TestContainersThatVanishOnTheirOwnAreNoReasonToFail: the edge refuses an order for one that has just gone, and Docker an
// inspection.
func TestContainersThatVanishOnTheirOwnAreNoReasonToFail(t *testing.T) {
	for _, at := range []string{"drain --sessions", "inspect --type container"} {
		roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) {
			w.on = func(_ int, cmd string) {
				if old := w.of("web")[0]; w.numbers["web"] == 4 && strings.Contains(cmd, at) && len(w.of("web")) == 4 {
					w.present = slices.DeleteFunc(w.present, func(b *box) bool { return b == old })
				}
			}
		}, func(t *testing.T, a *attempt) { a.must(t, "new", "new") })
	}
}

func TestTheSecondInterruptWaitsNoLonger(t *testing.T) {
	hurry := make(chan struct{})
	roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
		r.Hurry = hurry
		w.onStart = func(b *box) { b.takes = time.Hour }
		w.on = func(_ int, cmd string) {
			if strings.Contains(cmd, "drain") && !strings.Contains(cmd, "--undo") {
				cancel()
			}
			if strings.Contains(cmd, "drain") && strings.Contains(cmd, "--sessions 0s") {
				close(hurry)
			}
		}
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "interrupted")
		if got := a.versions(t); !slices.Equal(got, []string{"old", "old"}) || a.took > 10*time.Second {
			t.Errorf("%v run after %s", got, a.took)
		}
		a.printed(t, "not waiting for what is under way on shop-web-3, shop-web-4")
	})
}

// TestNewContainersThatDieWhileTheOldOnesDrainAreNotReliedOn: the old ones are still there.
func TestNewContainersThatDieWhileTheOldOnesDrainAreNotReliedOn(t *testing.T) {
	roll(t, 2, func(w *world, r *Rollout, _ context.CancelFunc) {
		r.Sessions = 10 * time.Second
		w.on = func(int, string) {
			if since := w.of("web")[0].draining; !since.IsZero() && time.Since(since) > 3*time.Second {
				for _, b := range w.of("web")[2:] {
					b.State.Status, b.State.ExitCode = "exited", 9
				}
			}
		}
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "shop-web-3 exited with status 9; the new containers are removed, the old ones serve as before")
		if got := a.versions(t); !slices.Equal(got, []string{"old", "old"}) {
			t.Errorf("%v run", got)
		}
	})
}

// TestOldContainersThatDoNotComeBackAreNotReliedOn: interrupted while they drain, the new ones stay.
func TestOldContainersThatDoNotComeBackAreNotReliedOn(t *testing.T) {
	roll(t, 2, func(w *world, _ *Rollout, cancel context.CancelFunc) {
		w.on = func(_ int, cmd string) {
			if strings.Contains(cmd, "drain --sessions 2s") {
				cancel()
				for _, b := range w.of("web")[:2] {
					b.readyAt = time.Now().Add(time.Hour)
				}
			}
		}
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "the new containers stay beside the old ones")
		if got := a.versions(t); !slices.Equal(got, []string{"new", "new", "old", "old"}) || a.w.serving() != 2 {
			t.Errorf("%v run, %d serve", got, a.w.serving())
		}
	})
}
