package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// project is a Compose project with an edge that a test runs.
type project struct{ harness.Project }

// container returns the ID of one of the service's containers.
func (p *project) container(t *testing.T, service string) string {
	t.Helper()
	id, _, _ := strings.Cut(p.MustCompose(t, "ps", "--all", "--quiet", service), "\n")
	if id == "" {
		t.Fatalf("%s has no container", service)
	}
	return id
}

// shippedStack is the shipped compose.yaml with test images. The first test that needs it starts it.
type shippedStack struct {
	project
	once      sync.Once
	err       error
	dir       string
	isStarted bool
}

var shipped shippedStack

// stack returns the running shipped stack.
func stack(t *testing.T) *project {
	t.Helper()
	shipped.once.Do(func() { shipped.err = shipped.up() })
	if shipped.err != nil {
		t.Fatal(shipped.err)
	}
	return &shipped.project
}

// up writes a .env with `edge init`, as users do, and starts the stack.
func (s *shippedStack) up() error {
	var err error
	if s.dir, err = os.MkdirTemp("", "edge-stack-"); err != nil {
		return err
	}
	ports := make([]string, 2)
	for i := range ports {
		if ports[i], err = testport.Reserve(); err != nil {
			return err
		}
	}
	env := filepath.Join(s.dir, ".env")
	if err := harness.WriteEnv(env, "localhost"); err != nil {
		return err
	}
	s.Project = harness.Project{
		Name: "edgetest", HTTP: ports[0], HTTPS: ports[1], Files: []string{"../compose.yaml", "compose.test.yaml", "stack.test.yaml"},
		Env: []string{
			"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:" + ports[0], "PUBLISH_HTTPS=127.0.0.1:" + ports[1],
			"PUBLIC_HTTPS_PORT=" + ports[1],
		},
	}
	if err := s.CheckNotKept(); err != nil {
		return err
	}
	s.isStarted = true
	_, err = s.Compose(context.Background(), "up", "--detach", "--quiet-pull")
	return err
}

// finish takes the stack down, if a test has brought it up.
func (s *shippedStack) finish(isFailed bool) error {
	if s.dir == "" {
		return nil
	}
	defer os.RemoveAll(s.dir)
	if !s.isStarted {
		return nil
	}
	return s.Finish(isFailed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
}

// newProject returns a project that is named after the test and finished at its end. It is not started.
func newProject(t *testing.T, prefix string, files ...string) *project {
	t.Helper()
	name := "edge" + prefix + strings.ToLower(strings.NewReplacer("/", "", "_", "").Replace(t.Name()))
	p := &project{harness.Project{Name: name, Files: files, HTTP: testport.Port(t)}}
	p.Cleanup(t)
	return p
}

// newLab starts the stack of tests/lab for one test; env are more variables.
func newLab(t *testing.T, env ...string) *project {
	t.Helper()
	p := newProject(t, "lab", "lab/compose.yaml")
	p.Admin = testport.Port(t)
	p.Env = append([]string{"LAB_HTTP=" + p.HTTP, "LAB_ADMIN=" + p.Admin}, env...)
	p.MustCompose(t, "up", "--detach")
	return p
}
