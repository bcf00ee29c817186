package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Cleanup finishes the project at the end of the test; see Finish. A test calls it before it starts the project. It fails the
// test if the project is still there from a run with EDGE_TEST_KEEP=1.
func (p *Project) Cleanup(t testing.TB) {
	t.Helper()
	if err := p.CheckNotKept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Finish(t.Failed(), t.Logf); err != nil {
			t.Error(err)
		}
	})
}

// Finish takes the project down. If its tests failed, it saves the project's logs in a folder first, and with EDGE_TEST_KEEP=1 it
// lets the project run and logs the command that removes it. (Files that the test made for it are removed with the test.)
//
// The folder is $EDGE_TEST_ARTIFACTS/PROJECT; without the variable, edge-test/PROJECT in the directory for temporary files.
func (p *Project) Finish(isFailed bool, logf func(format string, args ...any)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if isFailed {
		if err := p.saveArtifacts(ctx, logf); err != nil {
			logf("the logs of %s are incomplete: %v", p.Name, err)
		}
		if os.Getenv("EDGE_TEST_KEEP") == "1" {
			logf("%s is kept; to remove it: %s", p.Name, p.removeCommand())
			return os.WriteFile(p.keptFile(), []byte(p.removeCommand()+"\n"), 0o600)
		}
	}
	return p.Down(ctx)
}

func (p *Project) artifactsDir() string {
	dir := os.Getenv("EDGE_TEST_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "edge-test")
	}
	return filepath.Join(dir, p.Name)
}

// keptFile is the file that says that the project was kept.
func (p *Project) keptFile() string { return filepath.Join(p.artifactsDir(), "kept") }

// removeCommand needs neither the compose files nor their variables.
func (p *Project) removeCommand() string {
	return "docker compose --project-name " + p.Name + " down --volumes --remove-orphans --timeout 1"
}

// CheckNotKept returns an error if the project was kept and still has a container.
func (p *Project) CheckNotKept() error {
	if _, err := os.Stat(p.keptFile()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.Name).Output()
	if err != nil {
		return fmt.Errorf("list the containers of %s: %w", p.Name, err)
	}
	if len(out) > 0 {
		return fmt.Errorf("%s is still there from a run with EDGE_TEST_KEEP=1; to remove it: %s", p.Name, p.removeCommand())
	}
	return os.Remove(p.keptFile())
}

// saveArtifacts writes the logs of each service, the list of containers, the compose file and the names of its variables into
// the project's folder, and logs the last lines of the edge; of every service if none is called edge.
func (p *Project) saveArtifacts(ctx context.Context, logf func(format string, args ...any)) error {
	dir := p.artifactsDir()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	logf("logs of %s: %s", p.Name, dir)
	var problems error
	save := func(name string, args ...string) string {
		text, err := p.Compose(ctx, append([]string{"--profile", "*"}, args...)...)
		problems = errors.Join(problems, err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		return text
	}
	save("containers", "ps", "--all", "--no-trunc")
	save("compose.yaml", "config", "--no-interpolate") // without the values of variables, which may be secret
	services := strings.Fields(save("services", "ps", "--all", "--services"))
	for _, service := range services {
		log := save(service+".log", "logs", "--no-color", "--timestamps", service)
		if service == "edge" || !slices.Contains(services, "edge") {
			logf("the last lines of %s:\n%s", service, lastLines(log, 40))
		}
	}
	names := make([]string, len(p.Env))
	for i, variable := range p.Env {
		names[i], _, _ = strings.Cut(variable, "=")
	}
	slices.Sort(names)
	names = slices.Compact(names) // Setenv sets some of them again
	return errors.Join(problems, os.WriteFile(filepath.Join(dir, "variables"), []byte(strings.Join(names, "\n")+"\n"), 0o600))
}
