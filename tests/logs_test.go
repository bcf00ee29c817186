package tests

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
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

// TestNoRequestWaitsForTheLog: nobody reads what the edge prints, as when Docker's disk is full, until a pipe is full. With Caddy's own output, requests
// would wait from then on. What the queue can't hold is counted.
func TestNoRequestWaitsForTheLog(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	dir, site := t.TempDir(), testport.Address(t)
	caddyfile := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tmetrics\n\tstorage file_system %s\n\tedge {\n\t\tresolver 127.0.0.1:1\n\t\tstatic api:80 %s\n\t}\n}\nhttp://%s {\n\thandle /metrics {\n\t\tmetrics\n\t}\n\thandle {\n\t\tlog_append padding %s\n\t\tedge_proxy api:80\n\t}\n\tlog {\n\t\toutput queue {\n\t\t\tsize 64KiB\n\t\t}\n\t\tformat redact\n\t}\n}\n",
		dir, backend.Listener.Addr(), site, strings.Repeat("x", 1000))
	if err := os.WriteFile(caddyfile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unread, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	edge := exec.Command(harness.Edge(t), "run", "--config", caddyfile, "--adapter", "caddyfile")
	edge.Stderr = stderr
	if err := edge.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	defer func() {
		_ = edge.Process.Kill() // it may wait for the pipe
		_ = edge.Wait()
	}()
	client := &http.Client{Timeout: 5 * time.Second}
	harness.Eventually(t, "the edge answers", func() bool {
		resp, err := client.Get("http://" + site + "/")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	start := time.Now()
	const requests = 500 // of 1.6 KB each in the log: a pipe and the queue have 64 KiB each
	for i := range requests {
		resp, err := client.Get(fmt.Sprintf("http://%s/%d", site, i))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		resp.Body.Close()
	}
	t.Logf("%d requests took %v", requests, time.Since(start).Round(time.Millisecond))
	if lost := droppedEntries(t, site); lost < requests/2 || lost >= requests {
		t.Errorf("%d entries of %d are counted as dropped", lost, requests)
	}
}

// droppedEntries returns how many log entries an edge has dropped, by its metrics.
func droppedEntries(t *testing.T, site string) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + site + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, count, found := strings.Cut(string(metrics), "\nedge_log_entries_dropped_total "); found {
		_, _ = fmt.Sscan(count, &n) // 0 if it is no number
	}
	return n
}
