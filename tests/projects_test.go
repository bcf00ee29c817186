package tests

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/theworklabs/edge/tests/harness"
)

// pace is the pause between the requests of a sender: without one, they would take both cores from the containers that come and go.
const pace = 20 * time.Millisecond

// projectsLab is an edge and five applications, each in a Compose project of its own, on one shared network. Their services have the
// same name and the same alias.
type projectsLab struct {
	*project // the edge's
	network  string
	apps     map[string]*project // by the end of their project's name
}

// newNetwork creates a network for several projects. Call it before the projects are made: it is removed after them.
func newNetwork(t *testing.T) (name string) {
	t.Helper()
	name = "edge-" + strings.ToLower(t.Name())
	harness.MustDocker(t, "network", "create", name)
	t.Cleanup(func() { harness.MustDocker(t, "network", "rm", name) })
	return name
}

// newApp returns an application of the lab, which is not started yet.
func newApp(t *testing.T, projectName, network, name string) *project {
	t.Helper()
	app := &project{harness.Project{Name: projectName, Files: []string{"lab/projects/app.compose.yaml"}, Env: []string{"LAB_NETWORK=" + network, "LAB_NAME=" + name}}}
	app.Cleanup(t)
	return app
}

// newProjectsLab starts the lab. The edge serves the projects whose names end in served; none: its default.
func newProjectsLab(t *testing.T, served ...string) *projectsLab {
	t.Helper()
	network := newNetwork(t)
	front := newProject(t, "projects", "lab/projects/front.compose.yaml")
	l := &projectsLab{project: front, network: network, apps: make(map[string]*project)}
	for _, end := range []string{"a", "b", "c", "d", "e"} {
		l.apps[end] = newApp(t, front.Name+end, network, "app-"+end)
		l.apps[end].MustCompose(t, "up", "--detach")
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

// TestSeveralProjectsServeTheSameServiceName: 3,000 requests to services of the same name in four projects, while the containers of
// one are replaced again and again and another project goes and comes. None is answered by another project's container, and none
// is lost of the projects that stay.
func TestSeveralProjectsServeTheSameServiceName(t *testing.T) {
	t.Parallel()
	l := newProjectsLab(t, "", "a", "b", "c", "d")
	for _, end := range []string{"a", "b", "c", "d"} {
		l.WaitReady(t, l.service(end), 1)
	}
	const requests = 3_000
	var sent, astray, lost, unavailable atomic.Int64
	client := l.Client(true, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	for i := range 16 {
		end := string("abcd"[i%4])
		senders.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(pace) {
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
	harness.LongOnly(t, "test-long")
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
	t.Parallel()
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
	harness.LongOnly(t, "test-long")
	l := newProjectsLab(t, "a")
	l.WaitReady(t, l.service("a"), 1)
	app := l.apps["a"]
	before := app.containerIDs(t, "web")
	l.loadAllMethodsDuring(t, "http://a.localhost/_test", 50, func() {
		app.mustRollout(t, "web", "--edge", l.Name+"/edge", "--force", "--sessions", "0s")
		byName := exec.Command(harness.Edge(t), "rollout", "--project-name", app.Name, "--edge", l.Name+"/edge", "--force", "--sessions", "0s", "web")
		byName.Dir, byName.Env = t.TempDir(), app.Environ()
		if out, err := byName.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	harness.CheckReplaced(t, "web", before, app.containerIDs(t, "web"), 1)
}

// TestTheSecondServerOfTheDocument: bigcapital-server-2 is a copy of bigcapital-server with another port, and both are one pool. Each of
// them is recreated under load, by Compose, without a drain: of idempotent requests none is lost. A container that is told to stop can cut a
// POST or PATCH that it has got; its outcome is unknown then.
func TestTheSecondServerOfTheDocument(t *testing.T) {
	t.Parallel()
	p := newProject(t, "second", "lab/second-server/compose.yaml")
	p.Env = []string{"LAB_HTTP=" + p.HTTP}
	p.MustCompose(t, "up", "--detach")
	const pool, url = "bigcapital-server:3000,bigcapital-server-2:3001", "http://accounting.localhost/api"
	p.WaitReady(t, pool, 2)
	for _, name := range []string{"first", "second"} {
		harness.Eventually(t, name+" answers", func() bool { return strings.Contains(p.Get(t, url+"/echo").Body, `"`+name+`"`) })
	}
	load := p.measureAllMethodsDuring(t, url, 50, func() {
		for _, service := range []string{"bigcapital-server-2", "bigcapital-server"} {
			p.MustCompose(t, "up", "--detach", "--no-deps", "--force-recreate", service)
			p.WaitReady(t, pool, 2)
		}
	})
	for _, m := range allMethods {
		isSafeToRepeat := m != http.MethodPost && m != http.MethodPatch
		lost, unknown := load.lost(m), load.outcomes[m]["unknown"]
		if lost > unknown || isSafeToRepeat && lost > 0 || unknown*100 > load.count(m) {
			t.Errorf("%d of %d %s are lost: %v %v", lost, load.count(m), m, load.outcomes[m], load.errors)
		}
	}
}

// TestANetworkIsDisconnectedAndConnected: requests wait while the container is not on the edge's network.
func TestANetworkIsDisconnectedAndConnected(t *testing.T) {
	t.Parallel()
	l := newProjectsLab(t, "", "a")
	l.WaitReady(t, l.service("a"), 1)
	container := l.apps["a"].containerIDs(t, "web")[0]
	load := loadDuring(t, l.project, "http://a.localhost/_test/echo", func() {
		for range 2 {
			harness.MustDocker(t, "network", "disconnect", l.network, container)
			l.WaitReady(t, l.service("a"), 0)
			harness.MustDocker(t, "network", "connect", l.network, container)
			l.WaitReady(t, l.service("a"), 1)
		}
	})
	load.logOutcomes(t, "disconnected and connected, twice")
	if load.lost(http.MethodGet) > 0 {
		t.Errorf("%d GETs are lost: %v", load.lost(http.MethodGet), load.outcomes[http.MethodGet])
	}
	if a := l.Get(t, "http://a.localhost/_test/echo"); !strings.Contains(a.Body, `"app-a"`) {
		t.Errorf("another project's container answers: %s", a.Body)
	}
}

// TestTwoEdgesOnOneHost: two stacks with an edge each, and services of the same name, on one network. Each edge serves its own.
func TestTwoEdgesOnOneHost(t *testing.T) {
	harness.LongOnly(t, "test-long")
	network := newNetwork(t)
	var edges []*project
	for _, name := range []string{"one", "two"} {
		p := newProject(t, "edge-"+name, "lab/projects/front.compose.yaml", "lab/projects/app.compose.yaml")
		p.Env = []string{"LAB_HTTP=" + p.HTTP, "LAB_NETWORK=" + network, "LAB_NAME=app-" + name, "LAB_PREFIX=" + p.Name}
		edges = append(edges, p)
	}
	for _, p := range edges {
		p.MustCompose(t, "up", "--detach")
	}
	check := func(p *project, name string) {
		t.Helper()
		for range 100 {
			p.CheckGet(t, "http://web.localhost/_test/echo", harness.Want{Status: http.StatusOK, Contains: `"app-` + name + `"`})
		}
		status := p.ServiceStatus(t, "web:8080")
		if len(status.Projects) != 1 || status.Projects[0] != p.Name || len(status.Endpoints) != 1 {
			t.Errorf("web:8080 of %s has the projects %v and the endpoints %+v", p.Name, status.Projects, status.Endpoints)
		}
	}
	for i, name := range []string{"one", "two"} {
		edges[i].WaitReady(t, "web:8080", 1)
		check(edges[i], name)
	}
	load := loadDuring(t, edges[0], "http://web.localhost/_test/echo", func() {
		edges[1].MustCompose(t, "up", "--detach", "--force-recreate")
		edges[1].WaitReady(t, "web:8080", 1)
	})
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if load.lost(method) > 0 {
			t.Errorf("%d %s of the first stack are lost while the second one is recreated: %v", load.lost(method), method, load.outcomes[method])
		}
	}
	check(edges[0], "one")
	check(edges[1], "two")
}

// newGeneratedLab starts an edge with a generated Caddyfile, which serves all projects on the network. Sites are services by host.
func newGeneratedLab(t *testing.T, dir, network string, sites map[string]string) *project {
	t.Helper()
	caddyfile := "{\n\tadmin unix//run/edge/admin.sock\n\tauto_https off\n\tedge {\n\t\tdocker_host tcp://docker-guard:2375\n\t\tprojects any\n\t}\n}\n"
	for _, host := range slices.Sorted(maps.Keys(sites)) {
		caddyfile += "http://" + host + " {\n\tedge_proxy " + sites[host] + "\n}\n"
	}
	override := "services: {edge: {volumes: [" + dir + "/Caddyfile:/etc/edge/lab.Caddyfile:ro]}}\n"
	writeFiles(t, dir, []txtar.File{{Name: "Caddyfile", Data: []byte(caddyfile)}, {Name: "override.yaml", Data: []byte(override)}})
	if err := os.Chmod(dir, 0o755); err != nil { // the edge is another user
		t.Fatal(err)
	}
	front := newProject(t, "generated", "lab/projects/front.compose.yaml", dir+"/override.yaml")
	front.Env = []string{"LAB_HTTP=" + front.HTTP, "LAB_NETWORK=" + network, "LAB_PREFIX=" + front.Name}
	front.MustCompose(t, "up", "--detach")
	return front
}

// TestNamesWithUpperCaseUnderscoresAndDots: routes have the names of services and containers in lower case.
func TestNamesWithUpperCaseUnderscoresAndDots(t *testing.T) {
	harness.LongOnly(t, "test-long")
	dir, network := t.TempDir(), newNetwork(t)
	const appName, container = "edge_names_app-1", "Edge_Wiki.Container"
	writeFiles(t, dir, []txtar.File{{Name: "app.yaml", Data: []byte(`
services:
  Web_App.v2:
    image: edge-test/generic:test
    environment: {PORT: "8080", NAME: service}
    networks: [shared]
  wiki:
    image: edge-test/generic:test
    container_name: ` + container + `
    environment: {PORT: "8080", NAME: container}
    networks: [shared]
networks:
  shared: {external: true, name: ` + network + `}
`)}})
	app := &project{harness.Project{Name: appName, Files: []string{dir + "/app.yaml"}}}
	app.Cleanup(t)
	app.MustCompose(t, "up", "--detach")
	sites := map[string]string{
		"service.localhost":   "web_app.v2:8080",
		"project.localhost":   appName + "/web_app.v2:8080",
		"container.localhost": strings.ToLower(container) + ":8080",
		"both.localhost":      appName + "/" + strings.ToLower(container) + ":8080",
	}
	front := newGeneratedLab(t, dir, network, sites)
	for host, service := range sites {
		front.WaitReady(t, service, 1)
		want := `"container"`
		if strings.Contains(service, "web_app") {
			want = `"service"`
		}
		front.CheckGet(t, "http://"+host+"/_test/echo", harness.Want{Status: http.StatusOK, Contains: want})
	}
}

// TestManyProjects has many projects with several containers each, whose services have the same name, on one network. While three of them
// are recreated, scaled, and taken down and up, 10,000 requests go to all of them. None is answered by another project's container, and
// none is lost of the others. EDGE_TEST_PROJECTS is their number, at least 3: `make projects` has 60, and takes about five minutes.
func TestManyProjects(t *testing.T) {
	if os.Getenv("EDGE_TEST_PROJECTS") == "" {
		t.Skip("a target of its own: make projects; TestSeveralProjectsServeTheSameServiceName is a small form of it")
	}
	const containers, requests = 5, 10_000
	count := max(harness.Count(t, "EDGE_TEST_PROJECTS", 3), 3)
	dir, network := t.TempDir(), newNetwork(t)
	apps, sites := make([]*project, count), make(map[string]string)
	for i := range apps {
		name := fmt.Sprintf("edgemany%02d", i)
		apps[i] = newApp(t, name, network, name)
		sites[name+".localhost"] = name + "/web:8080"
	}
	began := time.Now()
	for _, app := range apps {
		app.MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("web=%d", containers))
	}
	t.Logf("%d containers of %d projects started in %s", count*containers, count, time.Since(began).Round(time.Second))
	front := newGeneratedLab(t, dir, network, sites)
	for _, app := range apps {
		front.WaitReady(t, app.Name+"/web:8080", containers)
	}
	client := front.Client(true, nil)
	var sent, astray, lost, unavailable atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	for worker := range 8 {
		senders.Go(func() {
			for i := worker; ctx.Err() == nil; i, _ = i+1, <-time.After(pace) {
				app := apps[i%count]
				a, err := harness.Do(client, http.MethodGet, "http://"+app.Name+".localhost/_test/echo", nil)
				sent.Add(1)
				switch {
				case err == nil && a.Status == http.StatusOK && !strings.Contains(a.Body, `"`+app.Name+`"`):
					astray.Add(1)
				case err == nil && a.Status == http.StatusOK:
				case app == apps[1]: // it is taken down
					unavailable.Add(1)
				default:
					lost.Add(1)
					t.Logf("%s: %v, %d %.100q", app.Name, err, a.Status, a.Body)
				}
			}
		})
	}
	for round := 0; round < 2 || sent.Load() < requests; round++ {
		apps[0].MustCompose(t, "up", "--detach", "--force-recreate", "--scale", fmt.Sprintf("web=%d", containers))
		apps[1].MustCompose(t, "down")
		apps[2].MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("web=%d", 2+3*(round%2)))
		apps[1].MustCompose(t, "up", "--detach", "--scale", fmt.Sprintf("web=%d", containers))
	}
	cancel()
	senders.Wait()
	t.Logf("%d requests: %d went astray, %d were lost, %d found the project that goes and comes unavailable", sent.Load(), astray.Load(), lost.Load(), unavailable.Load())
	if astray.Load() > 0 || lost.Load() > 0 {
		t.Errorf("%d of %d requests went astray, %d were lost; want none", astray.Load(), sent.Load(), lost.Load())
	}
}
