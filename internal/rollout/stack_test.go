package rollout

import (
	"context"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestImpossibleRolloutIsRefusedBeforeAnyChange(t *testing.T) {
	for name, c := range map[string]struct {
		set  setupFunc
		want string
	}{
		"an unknown service": {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Services = []string{"wbe"} }, `has no service "wbe" | one of a profile needs --profile; there are: edge, web`},
		"a service of other projects": {func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
			r.Services, w.otherProjects = []string{"blog"}, "wiki\nnews\nwiki\n"
		}, `has no service "blog" | edge rollout --project-name news blog (projects that run it: news, wiki)`},
		"the edge":             {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Services = []string{"edge"} }, "is the edge itself"},
		"an unknown edge":      {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Edge = "proxy" }, `nor another one on this machine runs a service "proxy" that could be the edge | name it with --edge SERVICE or --edge PROJECT/SERVICE; the project has: edge, web`},
		"an edge that is down": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.exit(w.containersOf("edge")[0], 0) }, "0 containers of edge run"},
		"an edge nowhere":      {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { delete(w.services, "edge") }, `runs a service "edge" that could be the edge`},
		"a service of a Swarm": {func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
			delete(w.services, "edge")
			w.swarmServices = "infrastructure_edge\ninfrastructure_web\n"
		}, "web is a service of a Docker Swarm, which replaces its tasks itself: infrastructure_web | docker service update --force infrastructure_web"},
		"no service of a Swarm": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			delete(w.services, "edge")
			w.swarmServices = "infrastructure_edge\n"
		}, `runs a service "edge" that could be the edge`},
		"edges of two other projects": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			delete(w.services, "edge")
			w.foreignEdges = []string{"front/front-edge-1", "other/other-edge-1"}
		}, "several other projects have one: front, other | name the project: --edge front/edge"},
		"two containers of another project's edge": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			delete(w.services, "edge")
			w.foreignEdges = []string{"front/front-edge-1", "front/front-edge-2"}
		}, "2 containers of front/edge run"},
		"another project's edge that is down": {func(_ *fakeHost, r *Rollout, _ context.CancelFunc) { r.Edge = "front/edge" }, "0 containers of front/edge run; a rollout needs one to ask | start it: docker compose -p front up"},
		"its own project's edge, which it has not": {func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
			delete(w.services, "edge")
			r.Edge = "shop/edge"
		}, "name it with --edge SERVICE"},
		"no route at all":    {func(w *fakeHost, r *Rollout, _ context.CancelFunc) { w.routedServices, r.Services = nil, nil }, "the edge has no route to any service"},
		"a paused container": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) { w.containersOf("web")[1].State.Status = "paused" }, "shop-web-2 is paused | docker unpause shop-web-2"},
		"a wrong label": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			w.services["web"] = &compose.Service{Image: webImage, Labels: map[string]string{LabelRollout: "no"}}
		}, `label edge.rollout is "no"; want true or false`},
		"a changed network": {func(w *fakeHost, _ *Rollout, _ context.CancelFunc) {
			w.dryRunOutput = " DRY-RUN MODE -  Container shop-db-1  Stopping \n DRY-RUN MODE -  Container shop-db-1  Stopped \n DRY-RUN MODE -  Network shop_data  Removed \n"
		}, "Container shop-db-1 Stopping, Network shop_data Removed | docker compose up --detach does it"},
	} {
		t.Run(name, func(t *testing.T) {
			runTestRollout(t, 2, c.set, func(t *testing.T, a *testRollout) {
				a.checkFailed(t, c.want)
				for _, word := range []string{"compose up", "drain", "stop ", "rm "} {
					if got := a.commandsWith(word); len(got) > 0 {
						t.Errorf("the rollout ran %q", got)
					}
				}
			})
		})
	}
}

// TestTheEdgeMayBeInAnotherProject has the edge in a project of its own, which is found or named.
func TestTheEdgeMayBeInAnotherProject(t *testing.T) {
	for _, c := range []struct {
		edge, want string
		edges      []string
	}{
		{"edge", "front-edge-1", []string{"front/front-edge-1"}},
		{"front/edge", "front-edge-1", []string{"front/front-edge-1", "other/other-edge-1"}},
	} {
		t.Run(c.edge, func(t *testing.T) {
			runTestRollout(t, 2, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
				delete(w.services, "edge")
				w.foreignEdges, r.Edge = c.edges, c.edge
			}, func(t *testing.T, a *testRollout) {
				if a.err != nil {
					t.Fatal(a.err)
				}
				if n := len(a.commandsWith("exec " + c.want + " edge drain ")); n == 0 {
					t.Error("the edge was not asked to drain a container")
				}
				if a.host.abortedRequests > 0 || a.host.minServing < 2 {
					t.Errorf("%d requests were aborted, and %d containers served; want none and 2", a.host.abortedRequests, a.host.minServing)
				}
			})
		})
	}
}

// TestRoutesOfOtherProjectsAreNotItsOwn: another project's service may have the same name.
func TestRoutesOfOtherProjectsAreNotItsOwn(t *testing.T) {
	s := &stack{Stack: &compose.Stack{Name: "shop"}}
	ours, theirs := []endpoint{{Name: "shop/web/1"}}, []endpoint{{Name: "blog/web/1"}}
	for name, want := range map[string]bool{"web:80": true, "shop/web:80": true, "blog/web:80": false, "api:80,web:80": true, "api:80": false} {
		if got := len(s.routesTo(&compose.Service{Name: "web"}, []route{{Service: name}})) > 0; got != want {
			t.Errorf("%s: a route to web: %t, want %t", name, got, want)
		}
	}
	if got := s.routesTo(&compose.Service{Name: "web"}, []route{{"web:80", theirs}, {"app:80", ours}}); len(got) != 1 || got[0].Service != "app:80" {
		t.Errorf("got %v, want only the route with its own container", got)
	}
}

// TestARolloutByNameWorksInAnyDirectory: the containers tell where their compose files are.
func TestARolloutByNameWorksInAnyDirectory(t *testing.T) {
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		r.Project.Name, w.projectFiles = "shop", "/srv/shop\t/srv/shop/compose.yaml,/srv/shop/override.yaml"
	}, func(t *testing.T, a *testRollout) {
		if a.err != nil {
			t.Fatal(a.err)
		}
		if n := len(a.commandsWith("--file /srv/shop/compose.yaml --file /srv/shop/override.yaml")); n == 0 {
			t.Error("the files of the containers were not used")
		}
	})
	runTestRollout(t, 2, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		w.projectFiles = "/srv/shop\t/srv/shop/compose.yaml"
	}, func(t *testing.T, a *testRollout) { a.checkFailed(t, "no configuration file provided") })
}
