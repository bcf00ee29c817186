package databases

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/replication"
	"github.com/theworklabs/edge/tests/harness"
)

// testInterruptedPromotions kills a promotion at many times. Called again, it ends with the replica as the primary.
func (tr *trio) testInterruptedPromotions(t *testing.T, c *client) {
	for round := range harness.Count(t, "EDGE_TEST_INTERRUPTIONS", 1) {
		primary, _ := tr.hosts(t)
		w := c.startWriter(t, fmt.Sprintf("interrupted%d", round))
		time.Sleep(2 * time.Second)
		if round%2 == 0 {
			primary.MustCompose(t, "kill", "bigcapital-mysql", "corteza-db")
		}
		before := string(readFile(t, filepath.Join(tr.first.dir, ".env")))
		tr.interrupt(t, round, "promote")
		if after := string(readFile(t, filepath.Join(tr.first.dir, ".env"))); after == before {
			t.Errorf("the hosts are not exchanged")
		}
		if now, _ := tr.hosts(t); now == primary {
			t.Errorf("the old primary is the primary")
		}
		w.expectMore(t, "rows are written again")
		w.stop(t, c)
		w.expectAll(t, c)
		tr.interrupt(t, round, "rejoin")
		tr.eventuallyMode(t, replication.Synchronous)
	}
}

// interrupt runs an operation, and kills it with all that it has started, later each time, until it succeeds: in two of four rounds by the clock, in the others as soon
// as it has printed one line more than the time before.
func (tr *trio) interrupt(t *testing.T, round int, operation string) {
	t.Helper()
	byLine := round%4 >= 2
	for i := 0; ; i++ {
		cmd, out := tr.startOperation(t, operation)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		var timeout <-chan time.Time
		if !byLine {
			timeout = time.After(time.Duration(1000+2000*i+500*round) * time.Millisecond)
		}
		last, isOver := "before its first line", false
		for n := 0; !isOver; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("%s, interrupted %d times: %v\n%s", operation, i, err, out)
				}
				t.Logf("%s, interrupted %d times:\n%s", operation, i, out)
				return
			case line := <-out.lines:
				n++
				last, isOver = "after: "+line, byLine && n > i
			case <-timeout:
				isOver = true
			}
		}
		killTree(cmd.Process.Pid)
		<-done
		t.Logf("%s was killed %s", operation, last)
	}
}

// startOperation starts `edge replica` with an operation.
func (tr *trio) startOperation(t *testing.T, operation string) (*exec.Cmd, *transcript) {
	t.Helper()
	cmd := tr.first.command(t, append([]string{"replica", operation}, tr.first.FileArgs()...)...)
	out := &transcript{lines: make(chan string, 100)}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// transcript is what a program prints. The lines are sent, too.
type transcript struct {
	lines chan string

	mu      sync.Mutex
	text    strings.Builder
	partial string
}

// Write implements [io.Writer].
func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	s.partial += string(p)
	for {
		line, rest, ok := strings.Cut(s.partial, "\n")
		if !ok {
			return len(p), nil
		}
		s.partial = rest
		select {
		case s.lines <- line:
		default:
		}
	}
}

// String returns all that was printed.
func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// killTree kills a process and all that it has started.
func killTree(pid int) {
	children, _ := exec.Command("pgrep", "--parent", strconv.Itoa(pid)).Output() // none is an error
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			killTree(n)
		}
	}
}
