package observability

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// TestRunbooksOfTheEdge follows those of LogEntriesDropped and EdgeExhausted: the alert fires, what the runbook looks at says why, and after what it does the alert ends.
// It takes a quarter of an hour, because the alerts look back for ten minutes: make runbooks.
func TestRunbooksOfTheEdge(t *testing.T) {
	if os.Getenv("EDGE_TEST_INCIDENT") == "" {
		t.Skip("a quarter of an hour: make runbooks")
	}
	stack.WaitReady(t, "corteza-docs:80", 1)
	shipped, dir := stack.Files, t.TempDir()
	defer func() {
		stack.Files = shipped
		stack.MustCompose(t, "up", "--detach", "edge")
		stack.WaitReady(t, "corteza-docs:80", 1)
	}()
	begin := time.Now()
	fires := func(alert string) bool { return stack.firing(t.Context(), "")[alert].After(begin) }

	t.Run("LogEntriesDropped", func(t *testing.T) {
		receiver := newSlowReceiver(t)
		override(t, dir, shipped, "logging: {driver: syslog, options: {syslog-address: \"tcp://"+receiver.address+"\", mode: blocking}}")
		harness.Eventually(t, "Docker sends the lines", receiver.isUsed)
		client, longest := stack.Client(true, nil), time.Duration(0)
		long := site("docs") + "/_test/echo?q=" + strings.Repeat("x", 8<<10) // a line has it twice
		harness.EventuallyWithin(t, 2*time.Minute, "LogEntriesDropped fires", func() bool {
			for range 200 {
				start := time.Now()
				if resp, err := harness.Do(client, http.MethodGet, long, nil); err != nil || resp.Status != http.StatusOK {
					t.Fatalf("while nobody reads the log: %v, %v", resp.Status, err)
				}
				longest = max(longest, time.Since(start))
			}
			return fires("LogEntriesDropped")
		})
		t.Logf("LogEntriesDropped fires %v after the beginning; the slowest request took %v", time.Since(begin).Round(time.Second), longest.Round(time.Millisecond))
		if longest > 5*time.Second {
			t.Errorf("a request has waited %v for the log", longest)
		}
		if out, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", "{{json .HostConfig.LogConfig}}", stack.Name+"-edge-1").Output(); err != nil || !strings.Contains(string(out), receiver.address) {
			t.Errorf("what the runbook looks at says %s, %v", out, err)
		}
		receiver.read()
		before := receiver.lines()
		harness.EventuallyWithin(t, time.Minute, "what has waited arrives", func() bool { return receiver.lines() > before })
	})

	t.Run("EdgeExhausted", func(t *testing.T) {
		restore := stack.exhaustDescriptors(t)
		client := stack.Client(false, nil)
		client.Timeout = 2 * time.Second // the edge accepts no connection
		harness.EventuallyWithin(t, time.Minute, "EdgeExhausted fires", func() bool {
			_, _ = harness.Do(client, http.MethodGet, site("docs")+"/_test/echo", nil) // it may fail
			return fires("EdgeExhausted")
		})
		if out := stack.MustCompose(t, "logs", "--since", "10m", "edge"); !strings.Contains(out, "has run out of descriptors") {
			t.Errorf("the log does not say it:\n%.2000s", out)
		}
		restore() // as when some clients have gone: without any descriptor, nobody can ask the edge
		if out := stack.MustCompose(t, "exec", "-T", "edge", "edge", "status"); !strings.Contains(out, "has run out of descriptors") {
			t.Errorf("edge status does not say it:\n%s", out)
		}
		override(t, dir, shipped, "ulimits: {nofile: 12345}")
		if got := strings.TrimSpace(string(limitOfDescriptors(t))); got != "12345" {
			t.Errorf("the edge may have %s descriptors", got)
		}
	})

	harness.EventuallyWithin(t, 15*time.Minute, "both alerts end", func() bool {
		now := stack.firing(t.Context(), "")
		return now["LogEntriesDropped"].IsZero() && now["EdgeExhausted"].IsZero()
	})
	t.Logf("both alerts had ended %v after the beginning", time.Since(begin).Round(time.Second))
}

// override starts the edge with lines of compose.override.yaml.
func override(t *testing.T, dir string, shipped []string, line string) {
	t.Helper()
	file := filepath.Join(dir, "compose.override.yaml")
	if err := os.WriteFile(file, []byte("services:\n  edge:\n    "+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stack.Files = append(shipped[:len(shipped):len(shipped)], file)
	stack.MustCompose(t, "up", "--detach", "edge")
	stack.WaitReady(t, "corteza-docs:80", 1)
}

// limitOfDescriptors returns how many descriptors the edge may have.
func limitOfDescriptors(t *testing.T) []byte {
	t.Helper()
	pid, err := exec.CommandContext(t.Context(), "docker", "inspect", "--format", "{{.State.Pid}}", stack.Name+"-edge-1").Output()
	if err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%s/limits", bytes.TrimSpace(pid)))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Max open files +(\d+)`).FindSubmatch(limits)
	if found == nil {
		t.Fatalf("the limits are %s", limits)
	}
	return found[1]
}

// slowReceiver is a receiver of logs that reads nothing before read is called.
type slowReceiver struct {
	address string

	mu       sync.Mutex
	accepted int
	received int
	release  chan struct{} // closed when it reads
}

func newSlowReceiver(t *testing.T) *slowReceiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &slowReceiver{address: listener.Addr().String(), release: make(chan struct{})}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.accepted++
			r.mu.Unlock()
			go func() {
				<-r.release
				_, _ = io.Copy(r, c)
				c.Close()
			}()
		}
	}()
	return r
}

// Write counts lines.
func (r *slowReceiver) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func (r *slowReceiver) read() { close(r.release) }

func (r *slowReceiver) lines() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

func (r *slowReceiver) isUsed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted > 0
}
