package tests

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/deploy"
	"github.com/theworklabs/edge/tests/harness"
)

// deployProject is the stack of tests/deploy in a directory of its own, and images for it.
type deployProject struct {
	*project
	dir        string
	repository string
}

// newDeployProject starts the stack, and builds an image for each tag: what is different from edge-test/generic:test, as a variable.
func newDeployProject(t *testing.T, images map[string]string) *deployProject {
	t.Helper()
	p := &deployProject{dir: t.TempDir()}
	t.Cleanup(func() { // after the project is down, which is cleaned up first
		names := harness.MustDocker(t, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", p.repository)
		if _, err := harness.RunDocker(context.Background(), append([]string{"image", "rm", "--force"}, strings.Fields(names)...)...); err != nil {
			t.Error(err)
		}
	})
	p.project = newProject(t, "deploy", filepath.Join(p.dir, "compose.yaml"))
	p.repository = "edge-test/" + p.Name
	for _, name := range []string{"compose.yaml", "Caddyfile"} {
		text, err := os.ReadFile(filepath.Join("deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		p.write(t, name, string(text))
	}
	p.write(t, ".env", fmt.Sprintf("COMPOSE_PROJECT_NAME=%s\nDEPLOY_HTTP=%s\n", p.Name, p.HTTP))
	for tag, variable := range images {
		cmd := exec.Command("docker", "build", "--quiet", "--tag", p.repository+":"+tag, "-")
		cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
		cmd.Stdin = strings.NewReader("FROM edge-test/generic:test\nENV " + variable + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	p.compose(t, "up", "--detach")
	p.WaitReady(t, webService, 1)
	p.WaitReady(t, storeService, 1)
	return p
}

func (p *deployProject) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compose runs docker compose as an operator does, without flags.
func (p *deployProject) compose(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"compose"}, args...)...)
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker compose %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// edge runs a command of the edge in the project's directory, and returns its output and its exit status.
func (p *deployProject) edge(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	t.Logf("edge %s: %v\n%s", strings.Join(args, " "), err, out)
	return string(out), cmd.ProcessState.ExitCode()
}

// deploy runs edge deploy, and checks its exit status and what it prints.
func (p *deployProject) deploy(t *testing.T, status int, want string, args ...string) {
	t.Helper()
	out, got := p.edge(t, nil, append([]string{"deploy", "--sessions", "0s"}, args...)...)
	if got != status || !strings.Contains(out, want) {
		t.Errorf("edge deploy %v: exit status %d, want %d and %q", args, got, status, want)
	}
}

func (p *deployProject) expectImage(t *testing.T, service, tag string) {
	t.Helper()
	want := harness.MustDocker(t, "image", "inspect", "--format", "{{.Id}}", p.repository+":"+tag)
	if got := harness.MustDocker(t, "inspect", "--format", "{{.Image}}", p.container(t, service)); got != want {
		t.Errorf("%s runs %s, want %s (%s)", service, got, tag, want)
	}
}

func (p *deployProject) pins(t *testing.T) *deploy.Pins {
	t.Helper()
	pins, err := deploy.ReadPins(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	return pins
}

// TestDeploysLoseNoRequest rolls an image out, and goes back; one that does not start changes nothing.
func TestDeploysLoseNoRequest(t *testing.T) {
	t.Parallel()
	p := newDeployProject(t, map[string]string{"2": "VERSION=2", "3": "VERSION=3", "broken": "ROLE=nonsense"})
	original := harness.MustDocker(t, "inspect", "--format", "{{.Image}}", p.container(t, "web"))
	p.loadAllMethodsDuring(t, webURL+"/_test", 0, func() {
		p.deploy(t, 0, "web: deployed "+p.repository+":edge-", "web", p.repository+":2")
		p.expectImage(t, "web", "2")
		p.deploy(t, 0, "deployed", "web", p.repository+":3")
		p.deploy(t, 1, "edge: error: web: ", "web", p.repository+":broken", "--timeout", "5s")
		p.expectImage(t, "web", "3")
		p.deploy(t, 0, "web: rollback "+p.repository+":edge-", "--undo", "web")
		p.expectImage(t, "web", "2")
	})
	before := p.containerIDs(t, "web")
	p.compose(t, "up", "--detach")
	harness.CheckUnchanged(t, "web after `docker compose up`", before, p.containerIDs(t, "web"))
	p.deploy(t, 0, "rollback", "--undo", "web")
	if got := harness.MustDocker(t, "inspect", "--format", "{{.Image}}", p.container(t, "web")); got != original {
		t.Errorf("web runs %s, want %s", got, original)
	}
	p.deploy(t, 1, "has no deployment to undo", "--undo", "web")
	p.deploy(t, 0, "undone", "--list")
	answer, err := harness.Do(p.Client(false, nil), http.MethodGet, "http://metrics.localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for result, n := range map[string]int{"deployed": 2, "failed": 1, "rollback": 2} {
		if line := fmt.Sprintf(`edge_deployments_total{compose_service="web",project="%s",result="%s"} %d`, p.Name, result, n); !strings.Contains(answer.Body, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// TestADeployOfOneContainerAtATimeGoesBack: the new version is in the place of the old one when it shows that it does not start.
func TestADeployOfOneContainerAtATimeGoesBack(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newDeployProject(t, map[string]string{"2": "VERSION=2", "broken": "ROLE=nonsense"})
	p.loadAllMethodsDuring(t, storeURL+"/_test", 0, func() {
		p.deploy(t, 0, "store: deployed", "store", p.repository+":2")
		p.deploy(t, 1, "the version before runs again", "store", p.repository+":broken", "--timeout", "5s")
	})
	p.expectImage(t, "store", "2")
}

// TestABadVersionIsUndoneByItself, after it has begun to fail requests; unless a migration has run, which the long form tries.
func TestABadVersionIsUndoneByItself(t *testing.T) {
	t.Parallel()
	p := newDeployProject(t, map[string]string{"2": "VERSION=2", "bad": "FAIL_STATUS=500", "migration": "VERSION=9"})
	var mu sync.Mutex
	statuses := make(map[int]int)
	var failures []time.Time
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		client := p.Client(true, nil)
		for ctx.Err() == nil {
			a, err := harness.Do(client, http.MethodGet, webURL+"/_test/echo", nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			statuses[a.Status]++
			if a.Status != http.StatusOK {
				failures = append(failures, time.Now())
			}
			mu.Unlock()
			time.Sleep(20 * time.Millisecond)
		}
	})
	harness.Eventually(t, "there are requests", func() bool { mu.Lock(); defer mu.Unlock(); return statuses[http.StatusOK] > 100 })
	p.deploy(t, 0, "after: web:8080: 0 of ", "web", p.repository+":2", "--undo-on-errors", "15s")
	p.deploy(t, 3, "it was undone", "web", p.repository+":bad", "--undo-on-errors", "2m")
	p.expectImage(t, "web", "2")
	mu.Lock()
	t.Logf("%v; requests failed for %v", statuses, failures[len(failures)-1].Sub(failures[0]))
	mu.Unlock()
	if harness.IsLong() {
		p.deploy(t, 4, "a migration has run: migration", "migration", p.repository+":migration", "web", p.repository+":bad", "--undo-on-errors", "2m")
		p.expectImage(t, "web", "bad")
		p.deploy(t, 0, "rollback", "--undo", "web")
		p.expectImage(t, "web", "2")
		if got := p.pins(t).Services["migration"].Image; !strings.Contains(got, ":edge-") {
			t.Errorf("the migration that has run is not pinned any more: %q", got)
		}
	}
	cancel()
	load.Wait()
	results := map[string]int{"rollback": 1}
	if harness.IsLong() { // the second was not undone by itself, but by hand
		results = map[string]int{"rollback": 2, "bad": 1}
	}
	log := p.MustCompose(t, "logs", "edge")
	for result, n := range results {
		if got := strings.Count(log, `"result":"`+result+`"`); got != n {
			t.Errorf("the log of the edge tells %d times of the result %s, want %d", got, result, n)
		}
	}
}

// TestADeployAgentDoesWhatItsKeyMay, and nothing else.
func TestADeployAgentDoesWhatItsKeyMay(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newDeployProject(t, map[string]string{"2": "VERSION=2", "3": "VERSION=3"})
	agent := func(command string) (string, int) {
		return p.edge(t, []string{"SSH_ORIGINAL_COMMAND=" + command, "SSH_CONNECTION=192.0.2.7 40000 192.0.2.1 22"},
			"deploy-agent", "--name", "ci", "--sessions", "0s", "--allow", "web="+p.repository)
	}
	before := append(p.containerIDs(t, "web"), p.containerIDs(t, "store")...)
	for _, command := range []string{
		"", "sh", "deploy store " + p.repository + ":2", "deploy web edge-test/generic:test", "deploy web " + p.repository + ":2; touch /tmp/x",
		"deploy web --undo", "undo store", "$(id)", "deploy web `id`",
	} {
		if out, status := agent(command); status != 1 || !strings.Contains(out, "edge: error: ") {
			t.Errorf("%q: exit status %d\n%s", command, status, out)
		}
	}
	harness.CheckUnchanged(t, "the containers", before, append(p.containerIDs(t, "web"), p.containerIDs(t, "store")...))
	if out, status := agent("deploy web " + p.repository + ":2"); status != 0 {
		t.Errorf("exit status %d\n%s", status, out)
	}
	p.expectImage(t, "web", "2")
	if out, _ := p.edge(t, nil, "deploy", "--list", "--json"); !strings.Contains(out, `"by":"ci@192.0.2.7"`) {
		t.Errorf("it is not noted who it was:\n%s", out)
	}
	if log := p.MustCompose(t, "logs", "edge"); !strings.Contains(log, `"by":"ci@192.0.2.7"`) {
		t.Error("the log of the edge does not tell who it was")
	}
	if out, status := agent("undo web"); status != 1 || !strings.Contains(out, "may not do that") {
		t.Errorf("an undo to an image of another repository: exit status %d", status)
	}
	if _, status := agent("deploy web " + p.repository + ":3"); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if _, status := agent("undo web"); status != 0 {
		t.Errorf("undo: exit status %d", status)
	}
	p.expectImage(t, "web", "2")
	if slices.Contains(p.containerIDs(t, "web"), before[0]) {
		t.Error("the old container still runs")
	}
}

// TestDeployReadsTheFilesThatComposeReads, whatever way they are named: the real Compose says which.
func TestDeployReadsTheFilesThatComposeReads(t *testing.T) {
	t.Parallel()
	const (
		base = "services: {web: {image: 'edge-test/generic:test'}}"
		more = "services: {extra: {image: 'edge-test/generic:test'}}"
	)
	for name, c := range map[string]struct {
		files map[string]string
		args  []string
		want  string // the services that it knows
	}{
		"the default":         {map[string]string{"compose.yml": base}, nil, "there are: web"},
		"an override":         {map[string]string{"compose.yaml": base, "compose.override.yaml": more}, nil, "there are: extra, web"},
		"quotes":              {map[string]string{"compose.yaml": base, "more.yaml": more, ".env": "COMPOSE_FILE=\"compose.yaml:more.yaml\"\n"}, nil, "there are: extra, web"},
		"export, and comment": {map[string]string{"compose.yaml": base, "more.yaml": more, ".env": "export COMPOSE_FILE=compose.yaml:more.yaml # both\n"}, nil, "there are: extra, web"},
		"a variable":          {map[string]string{"compose.yaml": base, "more.yaml": more, ".env": "MORE=more.yaml\nCOMPOSE_FILE=compose.yaml:${MORE}\n"}, nil, "there are: extra, web"},
		"a colon":             {map[string]string{"compose.yaml": base, "more.yaml": more, ".env": "COMPOSE_FILE: compose.yaml:more.yaml\n"}, nil, "there are: extra, web"},
		"a separator":         {map[string]string{"compose.yaml": base, "more.yaml": more, ".env": "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=compose.yaml,more.yaml\n"}, nil, "there are: extra, web"},
		"two env files":       {map[string]string{"compose.yaml": base, "more.yaml": more, "a.env": "COMPOSE_FILE=nothing.yaml\n", "b.env": "COMPOSE_FILE=compose.yaml:more.yaml\n"}, []string{"--env-file", "a.env", "--env-file", "b.env"}, "there are: extra, web"},
		"another directory":   {map[string]string{"shop/compose.yaml": "services: {web: {image: '${IMAGE:?}'}}", ".env": "COMPOSE_FILE=shop/compose.yaml\nIMAGE=edge-test/generic:test\n"}, nil, "there are: web"},
		"a broken .env":       {map[string]string{"compose.yaml": base, ".env": "COMPOSE_FILE=\"compose.yaml\n"}, nil, "correct .env"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &deployProject{dir: t.TempDir()}
			if err := os.Mkdir(filepath.Join(p.dir, "shop"), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range c.files {
				p.write(t, file, text)
			}
			p.deploy(t, 1, c.want, append(c.args, "nothing", "edge-test/generic:test")...)
		})
	}
}
