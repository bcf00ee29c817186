package tests

import (
	"encoding/json"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/preflight"
	"github.com/theworklabs/edge/tests/harness"
)

// check runs `edge check` on a project and returns its report.
func (p *project) check(t *testing.T, flags ...string) preflight.Report {
	t.Helper()
	return runCheck(t, "", p.Environ(), append(p.FileArgs(), flags...))
}

// runCheck runs `edge check` in a directory and returns its report.
func runCheck(t *testing.T, dir string, environ, flags []string) preflight.Report {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), append([]string{"check", "--json"}, flags...)...)
	cmd.Dir, cmd.Env = dir, environ
	out, err := cmd.Output()
	var report preflight.Report
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		t.Fatalf("edge check: %v, %v in %q", err, jsonErr, out)
	}
	if (err != nil) != (report.Errors > 0) {
		t.Errorf("the exit status does not fit %d errors: %v", report.Errors, err)
	}
	return report
}

func logReport(t *testing.T, report preflight.Report) {
	t.Helper()
	var text strings.Builder
	if err := report.Print(&text); err != nil {
		t.Error(err)
	}
	t.Logf("edge check:\n%s", &text)
}

// TestShippedStackPassesEveryCheck checks the running stack, with the checks of the socket proxy and the storage from within the
// edge's container.
func TestShippedStackPassesEveryCheck(t *testing.T) {
	p := readyStack(t)
	report := p.check(t)
	logReport(t, report)
	if report.Errors+report.Warnings > 0 {
		t.Errorf("%d errors, %d warnings", report.Errors, report.Warnings)
	}
	seen := make(map[string]bool)
	for _, f := range report.Findings {
		seen[f.Check] = true
	}
	for _, kind := range []string{"compose file", "secret", "engine", "file", "configuration", "route", "domain", "port", "image", "volume", "guard", "storage", "clock"} {
		if !seen[kind] {
			t.Errorf("there is no finding about %s", kind)
		}
	}
}

// TestCheckNamesAPortInUse has the fault of a broken stack that cannot be in a file of testdata/check/broken.
func TestCheckNamesAPortInUse(t *testing.T) {
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	p := unstartedStack(t, t.TempDir())
	p.Env = append(p.Env, "PUBLISH_HTTPS="+inUse.Addr().String())
	expectFinding(t, p.check(t), wantedFinding{
		level: preflight.Error, check: "port", message: "is taken by another program", hint: "ss -lnp",
	})
}

// unstartedStack returns the shipped stack before its first start, with a .env in dir.
func unstartedStack(t *testing.T, dir string) *project {
	t.Helper()
	env := harness.InitEnv(t, dir, "localhost")
	return &project{Project: harness.Project{
		Name: "edgefresh", Files: []string{"../compose.yaml"},
		Env: []string{"COMPOSE_ENV_FILES=" + env, "PUBLISH_HTTP=127.0.0.1:0", "PUBLISH_HTTPS=127.0.0.1:0"},
	}}
}

// TestCheckWorksOffline: without a Docker Engine and without DNS, the check finds nothing wrong with the shipped files.
func TestCheckWorksOffline(t *testing.T) {
	p := unstartedStack(t, t.TempDir())
	p.Env = append(p.Env, "DOCKER_HOST=unix:///nowhere/docker.sock", "DOMAIN=shop.invalid")
	report := p.check(t, "--offline")
	logReport(t, report)
	if report.Errors > 0 || report.Warnings != 1 {
		t.Errorf("%d errors and %d warnings, want only the warning that the Docker Engine cannot be reached", report.Errors, report.Warnings)
	}
	for _, f := range report.Findings {
		if f.Check == "domain" {
			t.Errorf("the check has looked up a name: %+v", f)
		}
	}
}
