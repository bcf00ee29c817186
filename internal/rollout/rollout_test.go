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

	"github.com/theworklabs/edge/internal/hint"
)

// testRollout is a finished rollout of "web" on a fake host.
type testRollout struct {
	Rollout
	host    *fakeHost
	out     bytes.Buffer
	err     error
	elapsed time.Duration
}

// setupFunc changes the host or the rollout of a test. Its last parameter interrupts the rollout.
type setupFunc = func(*fakeHost, *Rollout, context.CancelFunc)

// runTestRollout runs a rollout of n containers in a synctest bubble, after set has changed it, and calls check. It fails the test
// if goroutines remain.
func runTestRollout(t *testing.T, n int, set setupFunc, check func(*testing.T, *testRollout)) {
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
		start := time.Now()
		a.err = a.Run(ctx)
		a.elapsed = time.Since(start)
		check(t, a)
		if t.Failed() {
			t.Logf("printed:\n%s\nerror: %v\ncommands:\n%s", &a.out, a.err, strings.Join(a.host.commands, "\n"))
		}
	})
	if n := runtime.NumGoroutine(); n > goroutines+1 { // a goroutine of the bubble may not have ended yet
		t.Errorf("%d goroutines run after the rollout, and %d before", n, goroutines)
	}
}

// runningVersions returns the config hashes of the containers of "web", sorted. It fails the test if one of them does not run, or
// drains.
func (a *testRollout) runningVersions(t *testing.T) (all []string) {
	t.Helper()
	for _, b := range a.host.containersOf("web") {
		if b.State.Status != "running" || !b.drainedSince.IsZero() {
			t.Errorf("%s remains: %s, draining since %s", b.Name, b.State.Status, b.drainedSince)
		}
		all = append(all, b.Config.Labels["com.docker.compose.config-hash"])
	}
	slices.Sort(all)
	return all
}

// checkSucceeded fails the test if the rollout failed, or left other versions.
func (a *testRollout) checkSucceeded(t *testing.T, versions ...string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("the rollout failed: %v", a.err)
	}
	a.checkVersions(t, versions...)
}

// checkVersions fails the test if other versions run, or if the rollout aborted a request or left too few containers to serve.
func (a *testRollout) checkVersions(t *testing.T, versions ...string) {
	t.Helper()
	if got := a.runningVersions(t); !slices.Equal(got, versions) {
		t.Errorf("versions %v run, want %v", got, versions)
	}
	if a.host.abortedRequests > 0 {
		t.Errorf("%d requests were aborted", a.host.abortedRequests)
	}
	if a.host.minServing < len(versions) {
		t.Errorf("at one time only %d of %d containers served", a.host.minServing, len(versions))
	}
}

// checkFailed fails the test unless the error and its hint, joined by " | ", contain a text.
func (a *testRollout) checkFailed(t *testing.T, want string) {
	t.Helper()
	text := fmt.Sprint(a.err)
	if h, ok := errors.AsType[*hint.Error](a.err); ok {
		text += " | " + h.Next
	}
	if a.err == nil || !strings.Contains(text, want) {
		t.Errorf("got error %q, want one with %q", text, want)
	}
}

// checkPrinted fails the test unless the rollout has printed a text.
func (a *testRollout) checkPrinted(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(a.out.String(), want) {
		t.Errorf("the output lacks %q", want)
	}
}

// commandsWith returns the docker commands that contain a text.
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
			t.Errorf("the rollout took %s, want 3 s until ready and 2 s for sessions", a.elapsed)
		}
		for _, line := range []string{
			"started shop-web-3, shop-web-4 beside shop-web-1, shop-web-2", "finds shop-web-3, shop-web-4 ready", "drained shop-web-1",
			"stopped and removed shop-web-1, shop-web-2", "done in",
		} {
			a.checkPrinted(t, line)
		}
	})
}

func TestUpToDateServiceIsLeftAloneUnlessForced(t *testing.T) {
	same := func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.configHashes["web"] = "old" }
	runTestRollout(t, 2, same, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old", "old")
		a.checkPrinted(t, "nothing to do")
		if len(a.commandsWith("compose up")) > 0 {
			t.Error("the rollout ran docker compose up")
		}
	})
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		same(w, r, cancel)
		r.Force = true
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old", "old")
		if a.host.lastNumber["web"] != 4 {
			t.Error("with Force, it started no new containers")
		}
	})
}

func TestNewImageUnderTheSameNameIsRolledOut(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		w.configHashes["web"], r.Pull = "old", "always"
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "old")
		if got := a.host.containersOf("web")[0].Image; got != "sha256:pulled" {
			t.Errorf("the container runs image %s, want the pulled one", got)
		}
	})
}

func TestBrokenNewVersionKeepsOldContainers(t *testing.T) {
	for name, c := range map[string]struct {
		onCreate func(*fakeContainer)
		want     string
	}{
		"it exits":               {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 7 }, "shop-web-3 exited with status 7"},
		"it ends by itself":      {func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 0 }, "`docker compose up web` runs it"},
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
				w.onCreate = c.onCreate
				if c.onCreate == nil {
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
				a.checkFailed(t, c.want)
				a.checkFailed(t, "the new containers are removed, the old ones serve as before")
				a.checkVersions(t, "old", "old")
				a.checkPrinted(t, "the last that shop-web-3 logged:\nweb:   first\nweb:   second")
			})
		})
	}
}
