package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// attempt is a rollout of "web" in a world.
type attempt struct {
	Rollout
	w    *world
	out  bytes.Buffer
	err  error
	took time.Duration
}

// roll has a rollout run in a bubble of its own, with a world that set has changed, and looks at what it left.
func roll(t *testing.T, n int, set func(*world, *Rollout, context.CancelFunc), look func(*testing.T, *attempt)) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	goroutines := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		a := &attempt{w: newWorld(t, n)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a.Rollout = Rollout{Docker: a.w, Edge: "edge", Services: []string{"web"}, Ready: time.Minute, Sessions: 2 * time.Second, Out: &a.out}
		if set != nil {
			set(a.w, &a.Rollout, cancel)
		}
		began := time.Now()
		a.err = a.Run(ctx)
		a.took = time.Since(began)
		look(t, a)
		if t.Failed() {
			t.Logf("printed:\n%s\nerror: %v\ncommands:\n%s", &a.out, a.err, strings.Join(a.w.commands, "\n"))
		}
	})
	if now := runtime.NumGoroutine(); now > goroutines+1 { // one of the bubble may be about to end
		t.Errorf("%d goroutines, before %d", now, goroutines)
	}
}

// versions returns the hashes of the containers of "web" that run, and fails the test if one is left that doesn't, or that
// drains.
func (a *attempt) versions(t *testing.T) (all []string) {
	t.Helper()
	for _, b := range a.w.of("web") {
		if b.State.Status != "running" || !b.draining.IsZero() {
			t.Errorf("%s is left behind: %s, draining since %s", b.Name, b.State.Status, b.draining)
		}
		all = append(all, b.Config.Labels["com.docker.compose.config-hash"])
	}
	slices.Sort(all)
	return all
}

func (a *attempt) must(t *testing.T, versions ...string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("it failed: %v", a.err)
	}
	a.left(t, versions...)
}

// left checks what runs, and that nothing was lost on the way.
func (a *attempt) left(t *testing.T, versions ...string) {
	t.Helper()
	if got := a.versions(t); !slices.Equal(got, versions) {
		t.Errorf("%v run, want %v", got, versions)
	}
	if a.w.lost > 0 {
		t.Errorf("%d requests were cut", a.w.lost)
	}
	if a.w.lowest < len(versions) {
		t.Errorf("at one time only %d of %d were serving", a.w.lowest, len(versions))
	}
}

func (a *attempt) failed(t *testing.T, with string) {
	t.Helper()
	text := fmt.Sprint(a.err)
	if p, ok := errors.AsType[*Problem](a.err); ok {
		text += " | " + p.Hint
	}
	if a.err == nil || !strings.Contains(text, with) {
		t.Errorf("%q, want one with %q", text, with)
	}
}

func (a *attempt) printed(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(a.out.String(), want) {
		t.Errorf("%q was not printed", want)
	}
}

// commandsWith returns the commands that hold a text.
func (a *attempt) commandsWith(text string) (found []string) {
	for _, c := range a.w.commands {
		if strings.Contains(c, text) {
			found = append(found, c)
		}
	}
	return found
}

func TestNewContainersTakeThePlaceOfTheOld(t *testing.T) {
	roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) {
		w.onStart = func(b *box) { b.readyAt = time.Now().Add(3 * time.Second) }
	}, func(t *testing.T, a *attempt) {
		a.must(t, "new", "new")
		if a.took < 5*time.Second || a.took > 7*time.Second {
			t.Errorf("it took %s, want 3 s to be ready and 2 s for sessions", a.took)
		}
		for _, line := range []string{
			"started shop-web-3, shop-web-4 beside shop-web-1, shop-web-2", "finds shop-web-3, shop-web-4 ready", "drained shop-web-1",
			"stopped and removed shop-web-1, shop-web-2", "done in",
		} {
			a.printed(t, line)
		}
	})
}

func TestNothingIsDoneWhenNothingHasChanged(t *testing.T) {
	same := func(w *world, _ *Rollout, _ context.CancelFunc) { w.hashes["web"] = "old" }
	roll(t, 2, same, func(t *testing.T, a *attempt) {
		a.must(t, "old", "old")
		a.printed(t, "nothing to do")
		if len(a.commandsWith("compose up")) > 0 {
			t.Error("Compose was told to start something")
		}
	})
	roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
		same(w, r, cancel)
		r.Force = true
	}, func(t *testing.T, a *attempt) {
		a.must(t, "old", "old")
		if a.w.numbers["web"] != 4 {
			t.Error("forced, it started no new containers")
		}
	})
}

func TestANewImageUnderTheSameNameIsAChange(t *testing.T) {
	roll(t, 1, func(w *world, r *Rollout, _ context.CancelFunc) {
		w.hashes["web"], r.Pull = "old", "always"
	}, func(t *testing.T, a *attempt) {
		a.must(t, "old")
		if got := a.w.of("web")[0].Image; got != "sha256:pulled" {
			t.Errorf("it runs %s", got)
		}
	})
}

func TestANewVersionThatIsBrokenLeavesTheOld(t *testing.T) {
	for name, c := range map[string]struct {
		onStart func(*box)
		says    string
	}{
		"it exits":               {func(b *box) { b.State.Status, b.State.ExitCode = "exited", 7 }, "shop-web-3 exited with status 7"},
		"it is never ready":      {func(b *box) { b.readyAt = time.Now().Add(time.Hour) }, "not ready within 1m0s: shop-web-3 is starting, GET / answered 500"},
		"it exits all the time":  {nil, "shop-web-3 exits again and again"},
		"the edge knows nothing": {func(b *box) { b.unknown = true }, "shop-web-3 is not known to the edge"},
		"one of two is ready": {func(b *box) {
			if b.Name == "/shop-web-4" {
				b.readyAt = time.Now().Add(time.Hour)
			}
		}, "shop-web-4 is starting"},
	} {
		t.Run(name, func(t *testing.T) {
			roll(t, 2, func(w *world, _ *Rollout, _ context.CancelFunc) {
				w.onStart = c.onStart
				if c.onStart == nil {
					w.onStart = func(b *box) { b.State.Status, b.readyAt = "restarting", time.Now().Add(time.Hour) }
					w.on = func(int, string) {
						for _, b := range w.of("web") {
							if b.State.Status == "restarting" {
								b.RestartCount++
							}
						}
					}
				}
			}, func(t *testing.T, a *attempt) {
				a.failed(t, c.says)
				a.failed(t, "the new containers are removed, the old ones serve as before")
				a.left(t, "old", "old")
				a.printed(t, "the last that shop-web-3 logged:\nweb:   first\nweb:   second")
			})
		})
	}
}
