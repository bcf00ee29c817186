package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// change has a test's world changed in one respect.
type change = func(*world, *Rollout, context.CancelFunc)

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

func TestOneShotServicesRunFirstAndOnce(t *testing.T) {
	roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
		withMigration(w, r, cancel)
		w.services["api"], w.routed = w.services["web"], []string{"api", "web"}
		w.hashes["api"] = "old"
		w.create("api", 2)
		w.hashes["api"] = "new"
		r.Services = nil
	}, func(t *testing.T, a *attempt) {
		a.must(t, "new", "new")
		ups := a.commandsWith("compose up")
		if len(ups) != 3 || !strings.HasSuffix(ups[0], "--force-recreate migrate") || !strings.HasSuffix(ups[1], "api=4 api") {
			t.Errorf("started %q", ups)
		}
	})
}

func TestAOneShotServiceThatFailsStopsTheRollout(t *testing.T) {
	for name, c := range map[string]struct {
		onStart func(*box)
		on      func(*world)
		says    string
	}{
		"it fails":           {func(b *box) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "migrate exited with status 3; nothing else was changed"},
		"it runs already":    {func(b *box) {}, func(w *world) { w.create("migrate", 1) }, "shop-migrate-1, which has to complete first, runs already"},
		"it is removed":      {nil, nil, "migrate: its container has been removed by somebody else"},
		"what needs it, too": {func(b *box) { b.State.Status, b.State.ExitCode = "exited", 3 }, nil, "not begun: api"},
	} {
		t.Run(name, func(t *testing.T) {
			roll(t, 2, func(w *world, r *Rollout, cancel context.CancelFunc) {
				withMigration(w, r, cancel)
				w.services["api"] = service{Image: webImage}
				r.Services = []string{"web", "api"}
				w.onStart = c.onStart
				if c.on != nil {
					c.on(w)
				}
				if c.onStart == nil {
					w.on = func(int, string) {
						w.present = slices.DeleteFunc(w.present, func(b *box) bool { return b.service == "migrate" })
					}
				}
			}, func(t *testing.T, a *attempt) {
				a.failed(t, c.says)
				a.left(t, "old", "old")
			})
		})
	}
}

func TestImagesAreFetchedAsComposeWould(t *testing.T) {
	for name, c := range map[string]struct {
		image, policy, flag string
		build, buildable    bool
		want                string // the command, or the error
	}{
		"there":                 {webImage, "", "", false, false, ""},
		"missing":               {"web:2", "", "", false, false, "pull web"},
		"always":                {webImage, "always", "", false, false, "pull web"},
		"always, but not now":   {webImage, "always", "never", false, false, ""},
		"never there":           {"web:2", "never", "", false, false, "error: image web:2 is not on this machine"},
		"not to be had":         {"local/web:2", "", "", false, false, "error: pull access denied"},
		"to be built":           {"web:2", "", "", false, true, "build web"},
		"built":                 {webImage, "", "", false, true, ""},
		"built, and again":      {webImage, "", "", true, true, "build web"},
		"always built":          {webImage, "build", "", false, true, "build web"},
		"nameless, to be built": {"", "", "", false, true, "build web"},
	} {
		t.Run(name, func(t *testing.T) {
			roll(t, 1, func(w *world, r *Rollout, _ context.CancelFunc) {
				s := service{Image: c.image, PullPolicy: c.policy}
				if c.buildable {
					s.Build = json.RawMessage(`{"context": "."}`)
				}
				w.services["web"], r.Pull, r.Build = s, c.flag, c.build
			}, func(t *testing.T, a *attempt) {
				if text, isError := strings.CutPrefix(c.want, "error: "); isError {
					a.failed(t, text)
					a.left(t, "old")
					return
				}
				a.must(t, "new")
				got := append(a.commandsWith("compose pull"), a.commandsWith("compose build")...)
				if strings.TrimPrefix(strings.Join(got, "; "), "docker ") != strings.TrimSpace("compose "+c.want) && !(c.want == "" && len(got) == 0) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestWhatCanNotBeRolledOutIsRefusedBeforeAnythingHappens(t *testing.T) {
	for name, c := range map[string]struct {
		set  change
		says string
	}{
		"an unknown service":   {func(_ *world, r *Rollout, _ context.CancelFunc) { r.Services = []string{"wbe"} }, `has no service "wbe" | one of a profile needs --profile; there are: edge, web`},
		"the edge":             {func(_ *world, r *Rollout, _ context.CancelFunc) { r.Services = []string{"edge"} }, "is the edge itself"},
		"an unknown edge":      {func(_ *world, r *Rollout, _ context.CancelFunc) { r.Edge = "proxy" }, `has no service "proxy" that could be the edge`},
		"an edge that is down": {func(w *world, _ *Rollout, _ context.CancelFunc) { w.end(w.of("edge")[0], 0) }, "0 containers of edge run"},
		"no route at all":      {func(w *world, r *Rollout, _ context.CancelFunc) { w.routed, r.Services = nil, nil }, "the edge has no route to any service"},
		"a paused container":   {func(w *world, _ *Rollout, _ context.CancelFunc) { w.of("web")[1].State.Status = "paused" }, "shop-web-2 is paused | docker unpause shop-web-2"},
		"a wrong label": {func(w *world, _ *Rollout, _ context.CancelFunc) {
			w.services["web"] = service{Image: webImage, Labels: map[string]string{LabelRollout: "no"}}
		}, `label edge.rollout is "no"; want true or false`},
		"a changed network": {func(w *world, _ *Rollout, _ context.CancelFunc) {
			w.harm = " DRY-RUN MODE -  Container shop-db-1  Stopping \n DRY-RUN MODE -  Container shop-db-1  Stopped \n DRY-RUN MODE -  Network shop_data  Removed \n"
		}, "Container shop-db-1 Stopping, Network shop_data Removed | docker compose up --detach does it"},
	} {
		t.Run(name, func(t *testing.T) {
			roll(t, 2, c.set, func(t *testing.T, a *attempt) {
				a.failed(t, c.says)
				for _, word := range []string{"compose up", "drain", "stop ", "rm "} {
					if got := a.commandsWith(word); len(got) > 0 {
						t.Errorf("it ran %q", got)
					}
				}
			})
		})
	}
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

// TestAnEndpointIsFoundByItsIDOrByItsAddress: the address is all that an edge knows that works on DNS alone.
func TestAnEndpointIsFoundByItsIDOrByItsAddress(t *testing.T) {
	var c container
	if err := json.Unmarshal([]byte(`{"ID": "abc", "NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0.7", "GlobalIPv6Address": "fd00::7"}}}}`), &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		endpoint
		is bool
	}{
		{endpoint{ID: "abc", Address: "10.0.0.9:80"}, true},
		{endpoint{ID: "def", Address: "10.0.0.7:80"}, false}, // an address that has passed on
		{endpoint{ID: "10.0.0.7", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "10.0.0.7:80", Address: "10.0.0.7:80"}, true},
		{endpoint{ID: "fd00::7", Address: "[fd00::7]:80"}, true},
		{endpoint{ID: "10.0.0.8", Address: "10.0.0.8:80"}, false},
	} {
		if c.is(e.endpoint) != e.is {
			t.Errorf("%+v: %v, want %v", e.endpoint, c.is(e.endpoint), e.is)
		}
	}
}
