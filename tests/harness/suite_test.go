package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSuiteRunsSetupTestsAndTeardown(t *testing.T) {
	for _, c := range []struct {
		name     string
		setup    error
		tests    int
		teardown error
		want     string
		status   int
	}{
		{name: "all passes", want: "setup, tests, teardown false", status: 0},
		{name: "a test fails", tests: 1, want: "setup, tests, teardown true", status: 1},
		{name: "Setup fails", setup: errors.New("no"), want: "setup, teardown true", status: 1},
		{name: "Teardown fails", teardown: errors.New("no"), want: "setup, tests, teardown false", status: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps []string
			var dir string
			s := Suite{
				Dir:   "tests/x",
				Setup: func(d string) error { dir = d; steps = append(steps, "setup"); return c.setup },
				Teardown: func(isFailed bool) error {
					steps = append(steps, "teardown "+map[bool]string{true: "true", false: "false"}[isFailed])
					return c.teardown
				},
			}
			status := s.run(func() int { steps = append(steps, "tests"); return c.tests })
			if got := strings.Join(steps, ", "); got != c.want || status != c.status {
				t.Errorf("%s; status %d; want %s; status %d", got, status, c.want, c.status)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", dir, err)
			}
		})
	}
}

func TestSuiteNeedsItsRequirements(t *testing.T) {
	s := Suite{Requires: []Requirement{{"true"}, {"sh", "-c", "echo first; echo second; exit 1"}}}
	if err := s.checkRequirements(); err == nil || !strings.HasSuffix(err.Error(), "fails: second") {
		t.Errorf("the error is %v, want the last line of the command", err)
	}
	if status := s.run(func() int { t.Error("the tests run"); return 0 }); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	if err := (Requirement{"edge-test-no-such-program"}).check(); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("the error is %v", err)
	}
}

func TestBuildReportsTheCompilersErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module x\n", "main.go": "package main\n\nfunc main() { undefined() }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Build(dir, "x", "."); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("the error is %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Build(dir, "x", ".", "-trimpath"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); err != nil {
		t.Error(err)
	}
}

func TestRootIsTheTopOfTheRepository(t *testing.T) {
	if _, err := os.Stat(filepath.Join(Root(), "tests", "harness", "suite_test.go")); err != nil {
		t.Error(err)
	}
}
