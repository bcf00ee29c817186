package tests

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// projectsLab is an edge and five applications, each in a Compose project of its own, on one shared network. Their services have the
// same name and the same alias.
type projectsLab struct {
	*project // the edge's
	network  string
	apps     map[string]*project // by the end of their project's name
}

// newProjectsLab starts the lab. The edge serves the projects whose names end in served; none: its default.
func newProjectsLab(t *testing.T, served ...string) *projectsLab {
	t.Helper()
	front := newProject(t, "projects", "lab/projects/front.compose.yaml")
	l := &projectsLab{project: front, network: front.Name + "-shared", apps: make(map[string]*project)}
	harness.MustDocker(t, "network", "create", l.network)
	t.Cleanup(func() { harness.MustDocker(t, "network", "rm", l.network) })
	front.Cleanup(t) // before the network goes
	for _, end := range []string{"a", "b", "c", "d", "e"} {
		app := &project{harness.Project{
			Name: front.Name + end, Files: []string{"lab/projects/app.compose.yaml"},
			Env: []string{"LAB_NETWORK=" + l.network, "LAB_NAME=app-" + end},
		}}
		app.Cleanup(t)
		app.MustCompose(t, "up", "--detach")
		l.apps[end] = app
	}
	var projects []string
	for _, end := range served {
		projects = append(projects, front.Name+end)
	}
	front.Env = []string{
		"LAB_HTTP=" + front.HTTP, "LAB_NETWORK=" + l.network, "LAB_PREFIX=" + front.Name,
		"LAB_PROJECTS=" + strings.Join(projects, " "),
	}
	front.MustCompose(t, "up", "--detach")
	return l
}

// service returns the service of an application as the routes name it.
func (l *projectsLab) service(end string) string { return l.Name + end + "/web:8080" }

// TestSeveralProjectsServeTheSameServiceName: 10,000 requests to services of the same name in four projects, while the containers of
// one are replaced again and again and another project goes and comes. None is answered by another project's container, and none
// is lost of the projects that stay.
func TestSeveralProjectsServeTheSameServiceName(t *testing.T) {
	l := newProjectsLab(t, "", "a", "b", "c", "d")
	for _, end := range []string{"a", "b", "c", "d"} {
		l.WaitReady(t, l.service(end), 1)
	}
	const requests = 10_000
	var sent, astray, lost, unavailable atomic.Int64
	client := l.Client(true, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	for i := range 16 {
		end := string("abcd"[i%4])
		senders.Go(func() {
			for ctx.Err() == nil {
				a, err := harness.Do(client, http.MethodGet, "http://"+end+".localhost/_test/echo", nil)
				sent.Add(1)
				switch {
				case err == nil && a.Status == http.StatusOK && !strings.Contains(a.Body, `"app-`+end+`"`):
					astray.Add(1)
				case err == nil && a.Status == http.StatusOK:
				case end == "b": // its project goes and comes
					unavailable.Add(1)
				default:
					lost.Add(1)
					t.Logf("%s: %v, %d %.100q", end, err, a.Status, a.Body)
				}
			}
		})
	}
	for round := 0; round < 3 || sent.Load() < requests; round++ {
		l.apps["a"].MustCompose(t, "up", "--detach", "--force-recreate")
		l.apps["b"].MustCompose(t, "down")
		l.apps["c"].MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("web=%d", 1+(round+1)%2))
		l.apps["b"].MustCompose(t, "up", "--detach")
	}
	cancel()
	senders.Wait()
	t.Logf("%d requests: %d went astray, %d were lost, %d found the project that goes and comes unavailable", sent.Load(), astray.Load(), lost.Load(), unavailable.Load())
	if astray.Load() > 0 || lost.Load() > 0 {
		t.Errorf("%d of %d requests went astray, %d were lost; want none", astray.Load(), sent.Load(), lost.Load())
	}

	l.CheckGet(t, "http://web.localhost/", harness.Want{Status: http.StatusServiceUnavailable})
	problem := l.ServiceStatus(t, "web:8080").Problem
	if want := fmt.Sprintf("answer to web; write in the route which one is meant: %sa/web or", l.Name); !strings.Contains(problem, want) {
		t.Errorf("the problem of web:8080 is %q, want %q", problem, want)
	}
	if strings.Contains(problem, l.Name+"e/web") {
		t.Errorf("the problem names a project that is not served: %q", problem)
	}
}

// TestAPoolOfTwoProjects: two names in one route are one pool; one of its projects is replaced under load.
func TestAPoolOfTwoProjects(t *testing.T) {
	l := newProjectsLab(t, "c", "d")
	pool := l.service("c") + "," + l.service("d")
	l.WaitReady(t, pool, 2)
	load := loadDuring(t, l.project, "http://pool.localhost/_test/echo", func() {
		l.apps["c"].MustCompose(t, "up", "--detach", "--force-recreate")
		l.apps["d"].MustCompose(t, "restart")
	})
	load.logOutcomes(t, "one of two projects recreated")
	if load.lost(http.MethodGet) > 0 {
		t.Errorf("%d GETs are lost: %v", load.lost(http.MethodGet), load.outcomes[http.MethodGet])
	}
	l.WaitReady(t, pool, 2)
}

// TestAnotherProjectIsNotServedByDefault: without the option, a route that names the project is served. One that does not gets the
// line to write.
func TestAnotherProjectIsNotServedByDefault(t *testing.T) {
	l := newProjectsLab(t)
	l.WaitReady(t, l.service("a"), 1)
	l.CheckGet(t, "http://a.localhost/_test/echo", harness.Want{Status: http.StatusOK, Contains: `"app-a"`})
	for _, end := range []string{"b", "c", "d", "e"} {
		l.apps[end].MustCompose(t, "down")
	}
	want := fmt.Sprintf("the edge serves project %[1]s, which has no web; project %[1]sa has one: write `projects %[1]s %[1]sa` in the global option edge, or %[1]sa/web in the route", l.Name)
	harness.Eventually(t, "the status has the line to write", func() bool { return l.ServiceStatus(t, "web:8080").Problem == want })
	l.CheckGet(t, "http://web.localhost/", harness.Want{Status: http.StatusServiceUnavailable})
}

// TestRolloutWithTheEdgeInAnotherProject rolls out an application under load, from its files and by its name alone.
func TestRolloutWithTheEdgeInAnotherProject(t *testing.T) {
	l := newProjectsLab(t, "a")
	l.WaitReady(t, l.service("a"), 1)
	app := l.apps["a"]
	before := app.containerIDs(t, "web")
	load := l.loadAllMethodsDuring(t, "http://a.localhost/_test/echo", func() {
		app.mustRollout(t, "web", "--edge", l.Name+"/edge", "--force", "--sessions", "0s")
		byName := exec.Command(harness.Edge(t), "rollout", "--project-name", app.Name, "--edge", l.Name+"/edge", "--force", "--sessions", "0s", "web")
		byName.Dir, byName.Env = t.TempDir(), app.Environ()
		if out, err := byName.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	load.requireCount(t, 50)
	harness.CheckReplaced(t, "web", before, app.containerIDs(t, "web"), 1)
}
