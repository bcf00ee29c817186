package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/discovery/sourcetest"
)

// putNamed adds a running container of a service in a project, "shop/web", with a name.
func (f *fakeEngine) putNamed(id, addr, projectService, name string) {
	project, service, _ := strings.Cut(projectService, "/")
	f.put(id, addr, func(c *container.Summary) {
		c.Names = []string{"/" + name}
		c.Labels["com.docker.compose.project"], c.Labels["com.docker.compose.service"] = project, service
		if project == "" {
			c.Labels = nil
		}
	})
}

// TestProjects has the containers of four projects and of none on one network. The edge is in project p.
func TestProjects(t *testing.T) {
	containers := func(f *fakeEngine, isInContainer bool) {
		if !isInContainer {
			f.remove("edge")
		}
		f.putNamed("p1", "10.0.0.11", "p/api", "p-api-1")
		f.putNamed("shop1", "10.0.0.21", "shop/web", "shop-web-1")
		f.putNamed("shop2", "10.0.0.22", "shop/web", "shop-web-2")
		f.putNamed("shop3", "10.0.0.23", "shop/cache", "shop-cache-1")
		f.putNamed("blog1", "10.0.0.31", "blog/web", "blog-web-1")
		f.putNamed("blog2", "10.0.0.32", "blog/api", "blog-api-1")
		f.putNamed("wiki1", "10.0.0.41", "wiki/app", "cache") // its name is that of shop's service
		f.putNamed("lone1", "10.0.0.51", "/", "lone")
		f.putNamed("far1", "192.168.9.9", "far/db", "far-db-1") // on none of the edge's networks
	}
	for _, c := range []struct {
		projects string
		isOnHost bool
		name     string
		want     string // the IDs of the members
		problem  string
	}{
		// The default is the edge's own project.
		{name: "api", want: "p1", problem: "project blog answers to api too; only project p is used"},
		{name: "cache", problem: "the edge serves project p, which has no cache; project shop has one: write `projects p shop` in the global option edge, or shop/cache in the route"},
		{name: "web", problem: "the edge serves project p, which has no web; project blog and project shop have one: write in the route which one is meant: blog/web or shop/web"},
		{name: "shop/web", want: "shop1 shop2"},
		{name: "shop/shop-web-2", want: "shop2"},
		{name: "p/api", want: "p1"},
		{name: "db"},
		{name: "lone"},

		{projects: "p shop", name: "api", want: "p1", problem: "project blog answers to api too"},
		{projects: "p shop", name: "web", want: "shop1 shop2", problem: "project blog answers to web too; only project shop is used"},
		{projects: "p shop", name: "shop-web-1", want: "shop1"},
		{projects: "p shop", name: "blog/web", problem: "the edge does not serve project blog; write `projects p shop blog` in the global option edge"},
		{projects: "p shop blog", name: "web", problem: "project blog and project shop answer to web; write in the route which one is meant: blog/web or shop/web"},
		{projects: "p shop blog", name: "blog/web", want: "blog1"},
		{projects: "shop", name: "api", problem: "the edge serves project shop, which has no api; project blog and project p have one"},
		{projects: "shop wiki", name: "cache", problem: "project shop and project wiki answer to cache"},

		{projects: "any", name: "app", want: "wiki1"},
		{projects: "any", name: "api", problem: "project blog and project p answer to api"},
		{projects: "any", name: "lone", want: "lone1"},
		{projects: "any", name: "blog/api", want: "blog2"},
		{projects: "any", name: "cache", problem: "project shop and project wiki answer to cache"},

		// An edge outside containers has no project of its own.
		{isOnHost: true, name: "app", want: "wiki1"},
		{isOnHost: true, name: "web", problem: "project blog and project shop answer to web"},
		{isOnHost: true, name: "lone", want: "lone1"},
	} {
		t.Run(fmt.Sprintf("%s %t %s", c.projects, c.isOnHost, c.name), func(t *testing.T) {
			engine := newFakeEngine(t)
			containers(engine, !c.isOnHost)
			source := engine.NewSource().(discovery.Engine)
			source.Projects = strings.Fields(c.projects)
			r := sourcetest.Start(t, source)
			r.Eventually(t, "online", func(s sourcetest.State) bool { return s.IsOnline })
			s := r.State()
			var ids []string
			for _, m := range s.Members[c.name] {
				ids = append(ids, m.ID)
			}
			if got := strings.Join(ids, " "); got != c.want {
				t.Errorf("got the members %q, want %q", got, c.want)
			}
			if got := s.Problems[c.name]; !strings.Contains(got, c.problem) || c.problem == "" && got != "" {
				t.Errorf("got the problem %q, want %q", got, c.problem)
			}
		})
	}
}

// TestAnotherProjectTakesNoRequests: a name stays its project's while that is stopped, and another project claims it.
func TestAnotherProjectTakesNoRequests(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("mine", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	engine.putNamed("theirs", "10.0.0.8", "q/api", "q-api-1")
	engine.emit(events.ActionStart, "theirs", nil)
	r.Eventually(t, "problem of api", func(s sourcetest.State) bool { return s.Problems["api"] != "" })
	engine.remove("mine")
	engine.emit(events.ActionDestroy, "mine", nil)
	r.Eventually(t, "no members", func(s sourcetest.State) bool { return len(s.Members["api"]) == 0 })
	const want = "the edge serves project p, which has no api; project q has one"
	r.Eventually(t, "the problem: "+want, func(s sourcetest.State) bool { return strings.Contains(s.Problems["api"], want) })
}
