package tests

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// logs runs `edge logs` and returns what it prints.
func (p *project) logs(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.Edge(t), append(append([]string{"logs"}, p.FileArgs()...), args...)...)
	cmd.Env = p.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("edge logs %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestLogsShowTheStackAsOne: a request is found by its ID, a service by its name, and no log has the secrets of a request.
func TestLogsShowTheStackAsOne(t *testing.T) {
	p := stack(t)
	p.WaitReady(t, "corteza-docs:80", 1)
	const id, secret = "logs-test-4711-abcdef", "s3cr3t-s3cr3t"
	answer := p.Get(t, docs+"/page?access_token="+secret+"&q=1", "X-Request-Id", id, "X-Access-Token", secret, "Authorization", "Bearer "+secret, "Cookie", "a="+secret)
	if answer.Status != http.StatusOK && answer.Status != http.StatusNotFound {
		t.Fatalf("got %d", answer.Status)
	}
	out := ""
	harness.Eventually(t, "the request is in the log", func() bool {
		out = p.logs(t, "--request", id)
		return strings.Contains(out, "id="+id)
	})
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, "GET docs.localhost") || !strings.Contains(out, "/page?access_token=REDACTED&q=1") || !strings.Contains(out, "→ corteza-docs:80") || !strings.Contains(out, "edge-1") {
		t.Errorf("edge logs --request prints\n%s", out)
	}
	if out = p.logs(t, "corteza-docs", "--tail", "100000"); !strings.Contains(out, id) || strings.Contains(out, "→ bigcapital-server:3000") {
		t.Errorf("edge logs corteza-docs prints\n%.3000s", out)
	}
	if out = p.logs(t, "--slow", "1h"); out != "" {
		t.Errorf("no request took an hour:\n%s", out)
	}
	for line := range strings.Lines(p.logs(t, "--errors", "--since", "10m")) {
		if strings.Contains(line, "edge-1 ") && strings.Contains(line, "id="+id) && answer.Status < 500 {
			t.Errorf("a request with %d is no error: %s", answer.Status, line)
		}
	}
	raw := p.MustCompose(t, "logs", "--no-color", "edge")
	if !strings.Contains(raw, id) || strings.Contains(raw, secret) {
		t.Errorf("the secret is in the edge's log, or the request is not")
	}
}

func TestLogsNeedAProject(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--file /nowhere/compose.yaml", "edge: hint: run it where compose.yaml is"},
		{"--slow -1s", "--slow can't be negative"},
		{"--request x", "--request takes the ID of a request"},
	} {
		out, err := exec.Command(harness.Edge(t), append([]string{"logs"}, strings.Fields(c.args)...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "edge: error: ") || !strings.Contains(string(out), c.want) {
			t.Errorf("edge logs %s: %v\n%s", c.args, err, out)
		}
	}
}
