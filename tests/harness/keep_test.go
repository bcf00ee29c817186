package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDocker puts a docker command into PATH that writes its arguments into a file. It has the services edge and web, and its
// `compose down` fails as often as there are lines in the file "active".
func fakeDocker(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
cd "` + dir + `"
echo "$*" >>calls
case "$*" in
*" --services") printf 'edge\nweb\n' ;;
*" logs "*) echo "a line of $(echo "$*" | sed 's/.* //')" ;;
*" down "*)
	if [ -s active ]; then
		sed -i 1d active
		echo 'error while removing network: network edgex_lab has active endpoints (name:"edgex-web-1")' >&2
		exit 1
	fi ;;
"ps --all --quiet --filter label=com.docker.compose.project=edgex") cat containers 2>/dev/null || true ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("EDGE_TEST_ARTIFACTS", filepath.Join(dir, "artifacts"))
	t.Setenv("EDGE_TEST_KEEP", "")
	before := composeCommand
	composeCommand = func() []string { return []string{"docker", "compose"} }
	t.Cleanup(func() { composeCommand = before })
	return dir
}

func TestComposeIsFoundWhereDockerSays(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for plugins, want := range map[string]string{
		`[{"Name":"buildx","Path":"/p/docker-buildx"},{"Name":"compose","Path":"/p/docker-compose"}]`: "/p/docker-compose",
		`[{"Name":"buildx","Path":"/p/docker-buildx"}]`:                                               "docker compose",
		`[{"Name":"compose"}]`: "docker compose",
		`null`:                 "docker compose",
		`no JSON`:              "docker compose",
	} {
		if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\necho '"+plugins+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(findCompose(), " "); got != want {
			t.Errorf("%s: %q, want %q", plugins, got, want)
		}
	}
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func testProject() *Project {
	p := &Project{Name: "edgex", Files: []string{"compose.yaml"}, Env: []string{"SECRET=hunter2"}}
	p.Setenv("SECRET", "hunter3")
	return p
}

const downCall = "compose --project-name edgex --file compose.yaml --profile * down --volumes --remove-orphans --timeout 1\n"

func TestProjectOfAPassedTestIsTakenDown(t *testing.T) {
	dir := fakeDocker(t)
	r := &recorder{TB: t}
	r.run(func(t testing.TB) { testProject().Cleanup(t) })
	r.check(t, "")
	if calls := readFile(t, dir, "calls"); calls != downCall || len(r.logs) > 0 {
		t.Errorf("calls: %s\nlogs: %s", calls, r.logs)
	}
}

func TestLogsOfAFailedTestAreSaved(t *testing.T) {
	dir := fakeDocker(t)
	r := &recorder{TB: t}
	r.run(func(t testing.TB) { testProject().Cleanup(t); t.Error("no") })
	r.check(t, "no")
	folder := filepath.Join(dir, "artifacts", "edgex")
	if log := strings.Join(r.logs, "; "); log != "logs of edgex: "+folder+"; the last lines of edge:\na line of edge" {
		t.Errorf("the test logs %s", log)
	}
	if text := readFile(t, folder, "web.log"); text != "a line of web\n" {
		t.Errorf("web.log has %q", text)
	}
	if text := readFile(t, folder, "variables"); text != "SECRET\n" {
		t.Errorf("variables has %q", text)
	}
	if calls := readFile(t, dir, "calls"); !strings.HasSuffix(calls, downCall) {
		t.Errorf("the project is not taken down:\n%s", calls)
	}
}

func TestProjectOfAFailedTestIsKeptIfAsked(t *testing.T) {
	dir := fakeDocker(t)
	t.Setenv("EDGE_TEST_KEEP", "1")
	r := &recorder{TB: t}
	r.run(func(t testing.TB) { testProject().Cleanup(t); t.Error("no") })
	if calls := readFile(t, dir, "calls"); strings.Contains(calls, " down ") {
		t.Errorf("the project is taken down:\n%s", calls)
	}
	const command = "docker compose --project-name edgex down --volumes --remove-orphans --timeout 1"
	if last := r.logs[len(r.logs)-1]; !strings.HasSuffix(last, command) {
		t.Errorf("the last log is %q, want the command that removes the project", last)
	}

	if err := os.WriteFile(filepath.Join(dir, "containers"), []byte("0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = &recorder{TB: t}
	r.run(func(t testing.TB) { testProject().Cleanup(t) })
	r.check(t, "edgex is still there from a run with EDGE_TEST_KEEP=1; to remove it: "+command)

	if err := os.Remove(filepath.Join(dir, "containers")); err != nil {
		t.Fatal(err)
	}
	r = &recorder{TB: t}
	r.run(func(t testing.TB) { testProject().Cleanup(t) })
	r.check(t, "")
}

// TestDownIsRepeatedWhileANetworkHasActiveEndpoints, and not for other errors.
func TestDownIsRepeatedWhileANetworkHasActiveEndpoints(t *testing.T) {
	dir := fakeDocker(t)
	if err := os.WriteFile(filepath.Join(dir, "active"), []byte("1\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := testProject().Down(t.Context()); err != nil {
		t.Error(err)
	}
	if calls := readFile(t, dir, "calls"); calls != strings.Repeat(downCall, 3) {
		t.Errorf("calls: %s, want three", calls)
	}
	calls := 0
	if err := RetryActiveEndpoints(t.Context(), func() error { calls++; return errors.New("no") }); err == nil || calls != 1 {
		t.Errorf("another error: %v after %d calls, want it after one", err, calls)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := RetryActiveEndpoints(t.Context(), func() error { return errors.New("network x has active endpoints") })
		if took := time.Since(began); err == nil || took != activeEndpointsTimeout {
			t.Errorf("%v after %s, want an error after %s", err, took, activeEndpointsTimeout)
		}
	})
}
