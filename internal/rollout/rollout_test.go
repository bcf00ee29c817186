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

// testRollout is a rollout of "web" in a world.
type testRollout struct {
	Rollout
	host    *fakeHost
	out     bytes.Buffer
	err     error
	elapsed time.Duration
}

// runTestRollout has a rollout run in a bubble of its own, with a world that set has changed, and looks at what it left.
func runTestRollout(t *testing.T, n int, set func(*fakeHost, *Rollout, context.CancelFunc), look func(*testing.T, *testRollout)) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	goroutines := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		a := &testRollout{host: newFakeHost(t, n)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a.Rollout = Rollout{Docker: a.host, Edge: "edge", Services: []string{"web"}, ReadyTimeout: time.Minute, SessionGrace: 2 * time.Second, Out: &a.out}
		if set != nil {
			set(a.host, &a.Rollout, cancel)
		}
		began := time.Now()
		a.err = a.Run(ctx)
		a.elapsed = time.Since(began)
		look(t, a)
		if t.Failed() {
			t.Logf("printed:\n%s\nerror: %v\ncommands:\n%s", &a.out, a.err, strings.Join(a.host.commands, "\n"))
		}
	})
	if now := runtime.NumGoroutine(); now > goroutines+1 { // one of the bubble may be about to end
		t.Errorf("%d goroutines, before %d", now, goroutines)
	}
}

// runningVersions returns the hashes of the containers of "web" that run, and fails the test if one is left that doesn't, or that
// drains.
func (a *testRollout) runningVersions(t *testing.T) (all []string) {
	t.Helper()
	for _, b := range a.host.containersOf("web") {
		if b.State.Status != "running" || !b.drainedSince.IsZero() {
			t.Errorf("%s is left behind: %s, draining since %s", b.Name, b.State.Status, b.drainedSince)
		}
		all = append(all, b.Config.Labels["com.docker.compose.config-hash"])
	}
	slices.Sort(all)
	return all
}

func (a *testRollout) checkSucceeded(t *testing.T, versions ...string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("it failed: %v", a.err)
	}
	a.checkVersions(t, versions...)
}

// checkVersions checks what runs, and that nothing was lost on the way.
func (a *testRollout) checkVersions(t *testing.T, versions ...string) {
	t.Helper()
	if got := a.runningVersions(t); !slices.Equal(got, versions) {
		t.Errorf("%v run, want %v", got, versions)
	}
	if a.host.abortedRequests > 0 {
		t.Errorf("%d requests were cut", a.host.abortedRequests)
	}
	if a.host.minServing < len(versions) {
		t.Errorf("at one time only %d of %d were serving", a.host.minServing, len(versions))
	}
}

func (a *testRollout) checkFailed(t *testing.T, with string) {
	t.Helper()
	text := fmt.Sprint(a.err)
	if p, ok := errors.AsType[*HintError](a.err); ok {
		text += " | " + p.Hint
	}
	if a.err == nil || !strings.Contains(text, with) {
		t.Errorf("%q, want one with %q", text, with)
	}
}

func (a *testRollout) checkPrinted(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(a.out.String(), want) {
		t.Errorf("%q was not printed", want)
	}
}

// commandsWith returns the commands that hold a text.
func (a *testRollout) commandsWith(text string) (found []string) {
	for _, c := range a.host.commands {
		if strings.Contains(c, text) {
			found = append(found, c)
		}
	}
	return found
}

func TestNewContainersReplaceOldOnes(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
		w.onCreate = func(b *fakeContainer) { b.readyAt = time.Now().Add(3 * time.Second) }
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new", "new")
		if a.elapsed < 5*time.Second || a.elapsed > 7*time.Second {
			t.Errorf("it took %s, want 3 s to be ready and 2 s for sessions", a.elapsed)
		}
		for _, line := range []string{
			"started shop-web-3, shop-web-4 beside shop-web-1, shop-web-2", "finds shop-web-3, shop-web-4 ready", "drained shop-web-1",
			"stopped and removed shop-web-1, shop-web-2", "done in",
		} {
			a.checkPrinted(t, line)
		}
	})
}

func TestNothingIsDoneWhenNothingHasChanged(t *testing.T) {
	same := func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.configHashes["web"] = "old" }
	runTestRollout(t, 2, same, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old", "old")
		a.checkPrinted(t, "nothing to do")
		if len(a.commandsWith("compose up")) > 0 {
			t.Error("Compose was told to start something")
		}
	})
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		same(w, r, cancel)
		r.Force = true
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old", "old")
		if a.host.lastNumber["web"] != 4 {
			t.Error("forced, it started no new containers")
		}
	})
}

func TestANewImageUnderTheSameNameIsAChange(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		w.configHashes["web"], r.Pull = "old", "always"
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old")
		if got := a.host.containersOf("web")[0].Image; got != "sha256:pulled" {
			t.Errorf("it runs %s", got)
		}
	})
}

func TestBrokenNewVersionKeepsOldContainers(t *testing.T) {
	for name, c := range map[string]struct {
		onStart func(*fakeContainer)
		says    string
	}{
		"it exits":               {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 7 }, "shop-web-3 exited with status 7"},
		"it is never ready":      {func(b *fakeContainer) { b.readyAt = time.Now().Add(time.Hour) }, "not ready within 1m0s: shop-web-3 is starting, GET / answered 500"},
		"it exits all the time":  {nil, "shop-web-3 exits again and again"},
		"the edge knows nothing": {func(b *fakeContainer) { b.unknownToEdge = true }, "shop-web-3 is not known to the edge"},
		"one of two is ready": {func(b *fakeContainer) {
			if b.Name == "/shop-web-4" {
				b.readyAt = time.Now().Add(time.Hour)
			}
		}, "shop-web-4 is starting"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 2, func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
				w.onCreate = c.onStart
				if c.onStart == nil {
					w.onCreate = func(b *fakeContainer) { b.State.Status, b.readyAt = "restarting", time.Now().Add(time.Hour) }
					w.onCommand = func(int, string) {
						for _, b := range w.containersOf("web") {
							if b.State.Status == "restarting" {
								b.RestartCount++
							}
						}
					}
				}
			}, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, c.says)
				a.checkFailed(t, "the new containers are removed, the old ones serve as before")
				a.checkVersions(t, "old", "old")
				a.checkPrinted(t, "the last that shop-web-3 logged:\nweb:   first\nweb:   second")
			})
		})
	}
}
