package backup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

func dockerInspect(t *testing.T, id, format string) string {
	t.Helper()
	return harness.MustDocker(t, "inspect", "--format", format, id)
}

// newHostDuration is how long it takes to restore the test's data to a new host, about.
const newHostDuration = 30 * time.Second

// TestANewHostHasAllOfTheProject: the host is lost, with its containers, volumes and files. From the location of the backups and the recovery key
// alone, all of it is there again, and runs.
func TestANewHostHasAllOfTheProject(t *testing.T) {
	file := filepath.Join(stack.dir, "web.env")
	if err := os.WriteFile(file, []byte("PAGE=one\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	stack.project.MustCompose(t, "exec", "-T", "edge", "edge", "version") // it runs
	t.Log(stack.mustEdge(t, "backup"))
	before := stack.fingerprint(t)
	files := readAll(t, stack.dir)

	if err := stack.project.Down(t.Context()); err != nil { // with its volumes
		t.Fatal(err)
	}
	lost := stack.dir
	stack.dir = filepath.Join(filepath.Dir(lost), "other", "project")
	stack.project.Files = []string{filepath.Join(stack.dir, "compose.yaml")}
	if err := os.Rename(lost, lost+"-lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(stack.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"restore", "latest", "--new-host", "--repository", stack.repository}, args...)...)
		cmd.Dir = stack.dir
		cmd.Env = append(os.Environ(), "EDGE_BACKUP_PASSWORD="+stack.recovery)
		return cmd
	}
	run := func(args ...string) (string, error) {
		out, err := command(args...).CombinedOutput()
		return string(out), err
	}
	if out, err := run("--project-name", "other"); err == nil || !strings.Contains(out, "no backup of the project other") || !strings.Contains(out, "it has "+projectName) {
		t.Errorf("another project: %v\n%s", err, out)
	}
	unknown := exec.CommandContext(t.Context(), path, "restore", "20200101", "--new-host", "--repository", stack.repository)
	unknown.Dir, unknown.Env = stack.dir, append(os.Environ(), "EDGE_BACKUP_PASSWORD="+stack.recovery)
	if out, err := unknown.CombinedOutput(); err == nil || !strings.Contains(string(out), "the repository has no set 20200101") {
		t.Errorf("a set that does not exist: %v\n%s", err, out)
	}
	if files := readAll(t, stack.dir); len(files) > 0 { // which may be those of an intruder
		t.Errorf("the files of another set were written: %v", files)
	}
	if err := os.WriteFile(filepath.Join(stack.dir, "compose.yaml"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run(); err == nil || !strings.Contains(out, "other files are there already") {
		t.Errorf("with another file: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(stack.dir, "compose.yaml")); err != nil {
		t.Fatal(err)
	}
	kills := harness.Count(t, "EDGE_TEST_KILLS", 0) // the same command goes on, wherever the one before stopped
	for i := range kills {
		after := newHostDuration * time.Duration(i+1) / time.Duration(kills+1)
		isKilled := stack.killCommand(t, after, command())
		t.Logf("killed after %v: %t, in phase %q", after, isKilled, stack.journalPhase(t))
	}
	out, err := run()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(out)
	stack.awaitStack(t)
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the data is\n%s\nwant\n%s", got, before)
	}
	got := readAll(t, stack.dir)
	delete(files, "web.env")    // nothing names it
	delete(files, ".edge-logs") // which logs this host has stored as a whole: a new host reads them instead
	if len(got) != len(files) {
		t.Errorf("files: %d, want %d", len(got), len(files))
	}
	for name, text := range files {
		if got[name] != text {
			t.Errorf("%s is %q, want %q", name, got[name], text)
		}
	}
	stack.expectNothingStaged(t)
	stack.mustEdge(t, "backup") // with the password of backup.env
}

// readAll returns the files of a directory, with their modes.
func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() { // Docker creates it
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = info.Mode().String() + " " + string(text)
	}
	return files
}
