package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// alone lets only one container of "web" exist.
func alone(w *world, _ *Rollout, _ context.CancelFunc) {
	s := w.services["web"]
	s.ContainerName = "web"
	w.services["web"] = s
}

func TestAServiceThatCanNotHaveTwoIsDrainedBeforeItIsStopped(t *testing.T) {
	roll(t, 1, alone, func(t *testing.T, a *attempt) {
		if a.err != nil || a.w.lost > 0 || !slices.Equal(a.versions(t), []string{"new"}) {
			t.Errorf("%v, %d requests were cut", a.err, a.w.lost)
		}
		a.printed(t, "two can't run at once: its container_name web can exist once")
	})
}

// TestInPlaceNothingIsStoppedAfterAFailure: wherever it fails or is interrupted, one container serves, old or new.
func TestInPlaceNothingIsStoppedAfterAFailure(t *testing.T) {
	var commands []string
	roll(t, 1, alone, func(t *testing.T, a *attempt) { commands = a.w.commands })
	for i, cmd := range commands {
		for _, done := range []bool{false, true} {
			for _, interrupt := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %s %v %v", i, cmd, done, interrupt), func(t *testing.T) {
					roll(t, 1, func(w *world, r *Rollout, cancel context.CancelFunc) {
						alone(w, r, cancel)
						w.fail = func(at int, _ string, after bool) error {
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
					}, func(t *testing.T, a *attempt) {
						if a.w.lost > 0 || a.w.serving() != 1 {
							t.Errorf("%d requests were cut, %d are serving, error %v", a.w.lost, a.w.serving(), a.err)
						}
					})
				})
			}
		}
	}
}

func TestWhatTakesTooLongIsCutAndThatIsSaid(t *testing.T) {
	slow := func(w *world, r *Rollout, _ context.CancelFunc) {
		for _, b := range w.of("web") {
			b.takes, b.sockets = time.Hour, 2
		}
	}
	roll(t, 1, slow, func(t *testing.T, a *attempt) {
		if a.err != nil || a.took < time.Minute || a.took > 65*time.Second {
			t.Errorf("%v after %s, want a minute", a.err, a.took)
		}
		a.printed(t, "except for 1 request and 2 sockets, which will be cut")
	})
	roll(t, 1, func(w *world, r *Rollout, cancel context.CancelFunc) {
		slow(w, r, cancel)
		alone(w, r, cancel)
	}, func(t *testing.T, a *attempt) {
		if a.err != nil || a.took < 15*time.Second || a.took > 20*time.Second {
			t.Errorf("in place: %v after %s, want 15 s", a.err, a.took)
		}
	})
}

func TestInPlaceAVersionThatIsBrokenIsSaidToBe(t *testing.T) {
	roll(t, 1, func(w *world, r *Rollout, cancel context.CancelFunc) {
		alone(w, r, cancel)
		r.Stop = 1500 * time.Millisecond
		w.onStart = func(b *box) { b.State.Status = "exited" }
	}, func(t *testing.T, a *attempt) {
		a.failed(t, "shop-web-2 exited with status 0; the old container is gone, since two can't run at once")
		a.printed(t, "the last that shop-web-2 logged")
		if len(a.commandsWith("--scale web=1 -t 2 web")) != 1 {
			t.Error("it was not given 2 s to stop")
		}
	})
}
