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
	"github.com/theworklabs/edge/internal/hint"
)

// withEdge has the rollout replace the edge, which has a gate. A new edge can serve after a second.
func withEdge(w *fakeHost, r *Rollout, _ context.CancelFunc) {
	socket := "/run/gate/gate.sock"
	gate := []compose.Mount{{Type: "tmpfs", Source: "gate", Target: "/run/gate"}}
	w.services["gate"] = &compose.Service{Image: "edge-gate:dev", Volumes: gate}
	w.services["edge"].Environment, w.services["edge"].Volumes = map[string]*string{"EDGE_GATE": &socket}, gate
	first := w.containersOf("edge")[0]
	first.edge = fakeEdge{hasTaken: true, quietTime: 3 * time.Second, state: "sessions"}
	w.configHashes["edge"] = "e2"
	w.onCreate = func(b *fakeContainer) {
		b.edge = fakeEdge{standbyAt: time.Now().Add(time.Second), quietTime: 3 * time.Second}
	}
	r.Services = []string{"edge"}
	w.configHashes["gate"] = "g"
	w.create("gate", 1)
}

// edges returns the edges that are left: their versions, and whether each serves.
func (a *testRollout) edges() (all []string) {
	for _, b := range a.host.containersOf("edge") {
		text := b.Config.Labels["com.docker.compose.config-hash"]
		if a.host.serves(b) {
			text += " serves"
		}
		all = append(all, text)
	}
	return all
}

func (a *testRollout) wantEdges(t *testing.T, want ...string) {
	t.Helper()
	if got := a.edges(); !slices.Equal(got, want) {
		t.Errorf("the edges are %q, want %q", got, want)
	}
}

func TestTheEdgeIsReplacedByAHandover(t *testing.T) {
	runTestRollout(t, 1, withEdge, func(t *testing.T, a *testRollout) {
		if a.err != nil {
			t.Fatal(a.err)
		}
		a.wantEdges(t, "e2 serves")
		if got := a.host.containersOf("edge")[0].edge.state; got != "sessions" {
			t.Errorf("the new edge knows %q", got)
		}
		var steps []string
		for _, c := range a.host.commands {
			if _, action, is := strings.Cut(c, " edge handover "); is {
				steps = append(steps, action)
			} else if strings.HasPrefix(c, "stop ") {
				steps = append(steps, "stop")
			}
		}
		if want := "export import take leave export import stop"; strings.Join(steps, " ") != want {
			t.Errorf("the steps are %s, want %s", steps, want)
		}
		for _, want := range []string{
			"edge: started shop-edge-2 beside shop-edge-1", "edge: shop-edge-2 can serve", "edge: shop-edge-2 has taken over from shop-edge-1",
			"edge: the clients of shop-edge-1 have gone (3.", "edge: stopped and removed shop-edge-1", "edge: done in",
		} {
			if !strings.Contains(a.out.String(), want) {
				t.Errorf("the output lacks %q", want)
			}
		}
	})
}

func TestAnEdgeThatIsUpToDateIsLeftAloneUnlessForced(t *testing.T) {
	for _, force := range []bool{false, true} {
		runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
			withEdge(w, r, cancel)
			w.configHashes["edge"] = "e"
			r.Force = force
		}, func(t *testing.T, a *testRollout) {
			if created := a.host.lastNumber["edge"] > 1; created != force || a.err != nil {
				t.Errorf("force %v: a second edge was made: %v, %v", force, created, a.err)
			}
			a.wantEdges(t, "e serves")
		})
	}
}

// TestInterruptedHandoverLeavesAnEdge ends the context, or lets a command fail, at each command, before and after its execution. At each
// moment an edge serves.
func TestInterruptedHandoverLeavesAnEdge(t *testing.T) {
	var commands []string
	runTestRollout(t, 1, withEdge, func(_ *testing.T, a *testRollout) { commands = a.host.commands })
	for i, cmd := range commands {
		for mode := range 4 {
			done, isInterrupt := mode%2 == 1, mode < 2
			name := fmt.Sprintf("%d %s, after %v, interrupt %v", i, cmd, done, isInterrupt)
			t.Run(name, func(t *testing.T) {
				runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
					withEdge(w, r, cancel)
					w.failCommand = func(at int, _ string, after bool) error {
						if !slices.ContainsFunc(w.containersOf("edge"), w.serves) {
							t.Errorf("no edge serves at %s", w.commands[len(w.commands)-1])
						}
						if at != i || after != done {
							return nil
						}
						if isInterrupt {
							cancel()
							return nil
						}
						return errors.New("it fails")
					}
				}, func(t *testing.T, a *testRollout) {
					switch edges := strings.Join(a.edges(), ", "); {
					case edges == "e2 serves" && (a.err == nil || strings.HasPrefix(cmd, "stop ") || strings.HasPrefix(cmd, "rm ") || strings.HasPrefix(cmd, "ps ")):
					case edges == "e serves" && a.err != nil:
					case a.err != nil && (strings.Contains(a.err.Error(), "left") || strings.Contains(a.err.Error(), "stays")): // it says what to do
					default:
						t.Errorf("the edges are %s, and the error %v", edges, a.err)
					}
				})
			})
		}
	}
}

func TestAnEdgeThatCannotServeIsRemoved(t *testing.T) {
	for name, change := range map[string]func(*fakeContainer){
		"never starts":         func(b *fakeContainer) { b.edge.standbyAt = time.Now().Add(time.Hour) },
		"lacks a service":      func(b *fakeContainer) { b.edge.missing = "web:80" },
		"exits":                func(b *fakeContainer) { b.State.Status, b.State.ExitCode = "exited", 1 },
		"asked no gate at all": func(b *fakeContainer) { b.edge.noGate = true },
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
				withEdge(w, r, cancel)
				w.onCreate = change
			}, func(t *testing.T, a *testRollout) {
				a.wantEdges(t, "e serves")
				if a.err == nil || !strings.Contains(a.err.Error(), "the new edge is removed, the old one serves as before") {
					t.Errorf("the error is %v", a.err)
				}
				if !strings.Contains(a.out.String(), "first") {
					t.Error("the log of the new edge is not shown")
				}
			})
		})
	}
}

// TestHandoverOfAKilledRolloutIsCompleted: two edges run.
func TestHandoverOfAKilledRolloutIsCompleted(t *testing.T) {
	for name, kill := range map[string]func(w *fakeHost, first, second *fakeContainer){
		"before the second one took over": func(*fakeHost, *fakeContainer, *fakeContainer) {},
		"after it":                        func(_ *fakeHost, _, second *fakeContainer) { second.edge.hasTaken = true },
		"when the first one had left": func(_ *fakeHost, first, second *fakeContainer) {
			second.edge.hasTaken, first.edge.hasLeft = true, true
		},
		"of the same version": func(w *fakeHost, _, _ *fakeContainer) {
			for _, b := range w.containersOf("edge") {
				b.Config.Labels["com.docker.compose.config-hash"] = "e2"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
				withEdge(w, r, cancel)
				w.create("edge", 1)
				edges := w.containersOf("edge")
				edges[1].edge.standbyAt = time.Now()
				kill(w, edges[0], edges[1])
			}, func(t *testing.T, a *testRollout) {
				if a.err != nil {
					t.Error(a.err)
				}
				a.wantEdges(t, "e2 serves")
				if a.host.lastNumber["edge"] != 2 {
					t.Error("a third edge was made")
				}
			})
		})
	}
}

// TestASuccessorThatEndsWhileTheOldOneLeaves: Docker starts it again, or it is gone for good.
func TestASuccessorThatEndsWhileTheOldOneLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		comesBack bool
		want      string
	}{"for good": {false, "e serves"}, "and comes back": {true, "e2 serves"}} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
				withEdge(w, r, cancel)
				var restarted bool
				w.failCommand = func(_ int, cmd string, done bool) error {
					edges := w.containersOf("edge")
					if restarted || len(edges) < 2 || !edges[0].edge.hasLeft || !done {
						return nil
					}
					restarted = true
					edges[1].edge.hasTaken = false
					edges[1].edge.standbyAt = time.Now().Add(time.Hour)
					if c.comesBack {
						edges[1].edge.standbyAt = time.Now().Add(time.Second)
					}
					edges[0].edge.quietTime = time.Minute
					return nil
				}
			}, func(t *testing.T, a *testRollout) {
				a.wantEdges(t, c.want)
				if (a.err == nil) != c.comesBack {
					t.Errorf("the error is %v", a.err)
				}
			})
		})
	}
}

// TestAnEdgeThatDoesNotAnswerIsReplaced: it is left over from a killed rollout, and exits again and again.
func TestAnEdgeThatDoesNotAnswerIsReplaced(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withEdge(w, r, cancel)
		w.create("edge", 1)
		w.containersOf("edge")[1].edge.mute = true
		w.configHashes["edge"] = "e3"
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil {
			t.Error(a.err)
		}
		a.wantEdges(t, "e3 serves")
	})
}

// TestARollbackOfAContinuedRollout: the first edge has left already, the second one of the killed rollout can't serve, and neither can the third.
func TestARollbackOfAContinuedRollout(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withEdge(w, r, cancel)
		w.create("edge", 1)
		edges := w.containersOf("edge")
		edges[0].edge.hasLeft, edges[1].edge.mute = true, true
		w.onCreate = func(b *fakeContainer) { b.edge.standbyAt = time.Now().Add(time.Hour) }
		r.Force = true
	}, func(t *testing.T, a *testRollout) {
		if a.err == nil || !slices.Contains(a.edges(), "e serves") || len(a.edges()) != 2 {
			t.Errorf("the edges are %q, and the error is %v", a.edges(), a.err)
		}
	})
}

// TestTwoEdgesAreAnErrorForOthers: a rollout of another service asks one edge.
func TestTwoEdgesAreAnErrorForOthers(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withEdge(w, r, cancel)
		w.create("edge", 1)
		r.Services = []string{"web"}
	}, func(t *testing.T, a *testRollout) {
		if text := errorWithHint(a.err); !strings.Contains(text, "2 containers of edge run") || !strings.Contains(text, "edge rollout edge completes") {
			t.Errorf("the error is %s", text)
		}
	})
}

func TestEdgeWithoutGateIsNotRolledOut(t *testing.T) {
	for name, c := range map[string]struct {
		set  setupFunc
		want string
	}{
		"in the compose file": {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Services = []string{"edge"} }, "has no gate"},
		"of before the gate": {func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
			withEdge(w, r, cancel)
			w.containersOf("edge")[0].edge.noGate = true
		}, "docker compose up --detach, once and at a quiet time"},
		"of before handovers": {func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
			withEdge(w, r, cancel)
			w.failCommand = func(_ int, cmd string, _ bool) error {
				if strings.HasSuffix(cmd, " handover") {
					return errors.New("unknown command")
				}
				return nil
			}
		}, "docker compose up --detach, once and at a quiet time"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 1, c.set, func(t *testing.T, a *testRollout) {
				if text := errorWithHint(a.err); a.err == nil || !strings.Contains(text, c.want) {
					t.Errorf("the error is %s, want %q", text, c.want)
				}
				if len(a.host.containersOf("edge")) != 1 {
					t.Error("a second edge was made")
				}
			})
		})
	}
}

// TestEdgeThatCanRunOnceIsReplacedAtTheGate: connections wait meanwhile.
func TestEdgeThatCanRunOnceIsReplacedAtTheGate(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withEdge(w, r, cancel)
		w.services["edge"].ContainerName = "edge"
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil {
			t.Error(a.err)
		}
		a.wantEdges(t, "e2 serves")
		if !strings.Contains(a.out.String(), "connections wait at the gate") {
			t.Error("the output does not say what happens")
		}
	})
}

// TestAChangedGateIsReported: a rollout does not replace it.
func TestAChangedGateIsReported(t *testing.T) {
	for _, changed := range []bool{false, true} {
		runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
			withEdge(w, r, cancel)
			if changed {
				w.configHashes["gate"] = "g2"
			}
		}, func(t *testing.T, a *testRollout) {
			if reported := strings.Contains(a.out.String(), "gate is not what the file says"); reported != changed || a.err != nil {
				t.Errorf("changed %v: reported %v, %v", changed, reported, a.err)
			}
		})
	}
}

func TestPlanOfAHandover(t *testing.T) {
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, cancel context.CancelFunc) {
		withEdge(w, r, cancel)
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const want = `edge: start a second one, which takes over
  start 1 container beside shop-edge-1
  wait until the new edge can serve, up to 1m0s
  have the new edge take over from shop-edge-1
  wait until shop-edge-1 has let its clients go, up to 1m0s
  stop and remove shop-edge-1
`
		if plan.String() != want {
			t.Errorf("the plan is\n%s\nwant\n%s", plan, want)
		}
	}, func(*testing.T, *testRollout) {})
}

// errorWithHint returns what a user sees of an error.
func errorWithHint(err error) string { return fmt.Sprintf("%v\n%s", err, hint.Of(err)) }
