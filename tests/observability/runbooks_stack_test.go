package observability

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestRunbooksOfTheStack follows runbooks of what a stack has: for each, the fault is made, the alert is there (pending, if it waits for longer than a minute), what the
// runbook looks at says why, and what it does ends the alert, unless that looks back for minutes. It takes ten minutes: make runbooks.
func TestRunbooksOfTheStack(t *testing.T) {
	if os.Getenv("EDGE_TEST_INCIDENT") == "" {
		t.Skip("ten minutes: make runbooks")
	}
	stack.WaitReady(t, "corteza-docs:80", 1)
	t.Run("TargetDown", followTargetDown)
	t.Run("DatabaseDown", followDatabaseDown)
	t.Run("EdgeDown", followEdgeDown)
	t.Run("DiscoveryBlind", followDiscoveryBlind)
	t.Run("ConfigurationRejected", followConfigurationRejected)
	t.Run("NoReadyEndpoint", followNoReadyEndpoint)
	t.Run("RequestsLost", followRequestsLost)
	t.Run("SpansLost", followSpansLost)
	t.Run("BackupFailed", followBackups)
}

func waitForAlert(t *testing.T, name string, states ...string) {
	t.Helper()
	waitForHostAlert(t, 3*time.Minute, `alertname="`+name+`"`, states...)
}

// expectOutput fails the test unless what a runbook looks at has a text.
func expectOutput(t *testing.T, out, want string) {
	t.Helper()
	if !strings.Contains(out, want) {
		t.Errorf("what the runbook looks at has no %q:\n%.3000s", want, out)
	}
}

// state returns what `docker compose ps -a` says of services.
func state(t *testing.T, services ...string) string {
	t.Helper()
	return stack.MustCompose(t, append([]string{"ps", "-a", "--format", "{{.Service}} {{.State}}"}, services...)...)
}

func followTargetDown(t *testing.T) {
	stack.MustCompose(t, "stop", "node-exporter")
	waitForAlert(t, "TargetDown", "pending")
	expectOutput(t, state(t), "node-exporter exited")
	stack.MustCompose(t, "up", "--detach")
	waitForAlert(t, "TargetDown", "")
}

func followDatabaseDown(t *testing.T) {
	stack.MustCompose(t, "kill", "corteza-db")
	waitForAlert(t, "DatabaseDown", "firing")
	expectOutput(t, state(t, "corteza-db"), "corteza-db exited")
	stack.MustCompose(t, "up", "--detach")
	waitForAlert(t, "DatabaseDown", "")
}

func followEdgeDown(t *testing.T) {
	stack.MustCompose(t, "stop", "edge")
	waitForAlert(t, "EdgeDown", "firing")
	client := stack.Client(false, nil)
	client.Timeout = 5 * time.Second
	if resp, err := harness.Do(client, http.MethodGet, "http://localhost/health/ready", nil); err == nil || !os.IsTimeout(err) {
		t.Errorf("the runbook says that there is no answer, and there is %v, %v", resp.Status, err)
	}
	expectOutput(t, state(t, "edge", "gate"), "edge exited")
	expectOutput(t, state(t, "edge", "gate"), "gate running")
	stack.MustCompose(t, "up", "--detach", "gate", "edge")
	waitForAlert(t, "EdgeDown", "")
	stack.WaitReady(t, "corteza-docs:80", 1)
}

func followDiscoveryBlind(t *testing.T) {
	stack.MustCompose(t, "stop", "docker-guard")
	waitForAlert(t, "DiscoveryBlind", "firing")
	expectOutput(t, stack.MustCompose(t, "logs", "--since", "10m", "edge"), "cannot reach the Docker Engine")
	expectOutput(t, state(t, "docker-guard"), "docker-guard exited")
	stack.MustCompose(t, "up", "--detach", "docker-guard")
	waitForAlert(t, "DiscoveryBlind", "")
}

func followConfigurationRejected(t *testing.T) {
	shipped, err := os.ReadFile(harness.Root() + "/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "docker", append(append([]string{"compose"}, stack.FileArgs()...), "exec", "-T", "edge", "edge", "reload", "--adapter", "caddyfile", "--config", "-")...)
	cmd.Env, cmd.Stdin = stack.Environ(), strings.NewReader(string(shipped)+"\nno.example {\n\tlog {\n\t\toutput file /proc/nowhere/access.log\n\t}\n}\n")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("a log that can't be opened is accepted:\n%s", out)
	}
	waitForAlert(t, "ConfigurationRejected", "firing")
	expectOutput(t, stack.MustCompose(t, "logs", "--since", "1h", "edge"), "loading config")
	stack.edge(t, string(shipped), "reload", "--force", "--adapter", "caddyfile", "--config", "-")
	waitForAlert(t, "ConfigurationRejected", "")
	stack.WaitReady(t, "corteza-docs:80", 1)
}

// followNoReadyEndpoint follows RequestsRefused, too.
func followNoReadyEndpoint(t *testing.T) {
	stack.MustCompose(t, "stop", "corteza-docs")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		go func() {
			for client := stack.Client(true, nil); ctx.Err() == nil; time.Sleep(time.Second) {
				_, _ = harness.Do(client, http.MethodGet, site("docs")+"/_test/echo", nil) // refused
			}
		}()
	}
	waitForAlert(t, "RequestsRefused", "firing")
	waitForAlert(t, "NoReadyEndpoint", "firing")
	out, _ := stack.Compose(t.Context(), "exec", "-T", "edge", "edge", "status", "corteza-docs") // its status says that something is wrong
	expectOutput(t, out, "stopped")
	stack.MustCompose(t, "up", "--detach", "corteza-docs")
	stack.WaitReady(t, "corteza-docs:80", 1)
	waitForAlert(t, "NoReadyEndpoint", "")
}

// followRequestsLost has an application crash during a POST and a download: it follows ResponsesIncomplete, too. Both alerts look back for five minutes.
func followRequestsLost(t *testing.T) {
	id, err := stack.Container(t.Context(), "corteza-docs")
	if err != nil {
		t.Fatal(err)
	}
	restarts := func() string {
		return harness.MustDocker(t, "inspect", "-f", "{{.RestartCount}} {{.State.StartedAt}} {{.State.OOMKilled}}", id)
	}
	before := restarts()
	for crash := range 2 { // Prometheus has to see the counters twice
		ended := make(chan error, 2)
		go func() {
			_, err := harness.Do(stack.Client(false, nil), http.MethodPost, site("docs")+"/_test/slow?d=20s", strings.NewReader("x"))
			ended <- err
		}()
		go func() {
			resp, err := stack.Client(false, nil).Get(site("docs") + "/_test/download?bytes=100000000000")
			if err == nil {
				defer resp.Body.Close()
			}
			for buffer := make([]byte, 64<<10); err == nil; time.Sleep(20 * time.Millisecond) { // slowly, and until it ends
				_, err = resp.Body.Read(buffer)
			}
			ended <- err
		}()
		time.Sleep(1500 * time.Millisecond)
		pid, err := strconv.Atoi(strings.TrimSpace(harness.MustDocker(t, "inspect", "-f", "{{.State.Pid}}", id)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		t.Logf("crash %d: %v, %v", crash+1, <-ended, <-ended)
		stack.WaitReady(t, "corteza-docs:80", 1)
		time.Sleep(3 * time.Second)
	}
	waitForAlert(t, "RequestsLost", "firing")
	waitForAlert(t, "ResponsesIncomplete", "firing")
	path, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"logs", "corteza-docs", "--errors", "--since", "15m"}, stack.FileArgs()...)...)
	cmd.Env = stack.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("edge logs: %v", err)
	}
	expectOutput(t, string(out), "/_test/slow")
	expectOutput(t, string(out), "a response was incomplete")
	if after := restarts(); after == before || strings.HasPrefix(after, "0 ") {
		t.Errorf("docker inspect does not show that Docker has started it again: %s", after)
	}
}

func followSpansLost(t *testing.T) {
	shipped, dir := stack.Files, t.TempDir()
	defer func() {
		stack.Files = shipped
		stack.MustCompose(t, "up", "--detach", "edge")
		stack.WaitReady(t, "corteza-docs:80", 1)
	}()
	override(t, dir, shipped, `environment: {OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", TRACING: "import traced", OTEL_BSP_SCHEDULE_DELAY: "1000"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for client := stack.Client(true, nil); ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			_, _ = harness.Do(client, http.MethodGet, site("docs")+"/_test/echo", nil) // its trace is what is lost
		}
	}()
	waitForAlert(t, "SpansLost", "pending")
	expectOutput(t, stack.MustCompose(t, "logs", "--since", "30m", "edge"), "traces export")
}

// followBackups follows BackupFailed and BackupOverdue.
func followBackups(t *testing.T) {
	dir := t.TempDir()
	repository, override := filepath.Join(dir, "repository"), filepath.Join(dir, "backup.yaml")
	if err := os.WriteFile(override, []byte("x-edge-backup: {max_age: 1m, max_rate: unlimited}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shipped := stack.Files
	stack.Files = append(shipped[:len(shipped):len(shipped)], override)
	defer func() { stack.Files = shipped }()
	const key = "correct horse battery staple"
	init := exec.CommandContext(t.Context(), "restic", "init")
	init.Env = append(os.Environ(), "RESTIC_REPOSITORY="+repository, "RESTIC_PASSWORD="+key)
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("restic init: %v\n%s", err, out)
	}
	path, err := harness.EdgeBinary()
	if err != nil {
		t.Fatal(err)
	}
	backup := func(password string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"backup", "corteza"}, stack.FileArgs()...)...)
		cmd.Env = append(stack.Environ(), "EDGE_BACKUP_REPOSITORY="+repository, "EDGE_BACKUP_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := backup("another"); err == nil {
		t.Fatalf("a backup with a wrong password succeeds:\n%s", out)
	}
	waitForAlert(t, "BackupFailed", "firing")
	out, err := backup("another") // what the runbook looks at
	if err == nil {
		t.Fatal("a backup with a wrong password succeeds")
	}
	expectOutput(t, out, "the password is in backup.env")
	if out, err := backup(key); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitForAlert(t, "BackupFailed", "")
	waitForAlert(t, "BackupOverdue", "firing") // a minute later
	if out, err := backup(key); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitForAlert(t, "BackupOverdue", "")
}
