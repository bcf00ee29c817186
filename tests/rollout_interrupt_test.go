package tests

import (
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// interruptRollout runs a rollout and sends it a signal when it has printed a text. It returns the rollout's output and exit status.
func (p *project) interruptRollout(t *testing.T, text string, s syscall.Signal, args ...string) (string, int) {
	t.Helper()
	cmd := p.rolloutCommand(t, args...)
	out := &outputWatcher{text: text, found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-out.found:
	case err := <-ended:
		t.Fatalf("the rollout ended before it printed %q: %v\n%s", text, err, out)
	case <-time.After(3 * time.Minute): // a busy machine takes ten times as long as an idle one
		t.Fatalf("the rollout has not printed %q:\n%s", text, out)
	}
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	<-ended
	return out.String(), cmd.ProcessState.ExitCode()
}

// outputWatcher keeps what is written to it, and closes found when a text was written.
type outputWatcher struct {
	text  string
	found chan struct{}

	mu      sync.Mutex
	output  strings.Builder
	isFound bool
}

func (a *outputWatcher) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.output.Write(b)
	if !a.isFound && strings.Contains(a.output.String(), a.text) {
		a.isFound = true
		close(a.found)
	}
	return len(b), nil
}

func (a *outputWatcher) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.output.String()
}

// TestInterruptedRolloutLeavesAWorkingService interrupts a rollout before and after the new version gets requests; in the long form, at each of its steps.
func TestInterruptedRolloutLeavesAWorkingService(t *testing.T) {
	t.Parallel()
	p := newRolloutProject(t)
	before := p.containerIDs(t, "web")
	steps := []string{"started ", "drained "}
	if harness.IsLong() {
		steps = []string{"migration has completed", "started ", " ready", "drained "}
	}
	for i, at := range steps {
		p.Setenv("ROLLOUT_VERSION", "next"+strconv.Itoa(i))
		p.loadAllMethodsDuring(t, webURL+"/_test", 0, func() {
			signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
			out, status := p.interruptRollout(t, at, signal, "web", "--sessions", "3s")
			after := p.containerIDs(t, "web")
			t.Logf("%s: exit status %d\n%s", at, status, out)
			switch status {
			case 0:
				if at != "drained " {
					t.Errorf("%s: the rollout went on", at)
				}
				harness.CheckReplaced(t, at, before, after, 2)
			case 1:
				if !strings.Contains(out, "interrupted") {
					t.Errorf("%s: the rollout does not say that it was interrupted", at)
				}
				harness.CheckUnchanged(t, at, before, after)
			default:
				t.Errorf("%s: exit status %d", at, status)
			}
		})
		p.WaitReady(t, webService, 2)
		before = p.containerIDs(t, "web")
	}
}

// TestRolloutResumesAfterBeingKilled: the next rollout uses the containers that the killed one left, and no request is lost.
func TestRolloutResumesAfterBeingKilled(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newRolloutProject(t)
	before := p.containerIDs(t, "web")
	p.Setenv("ROLLOUT_VERSION", "2")
	p.loadAllMethodsDuring(t, webURL+"/_test", 0, func() {
		p.interruptRollout(t, " ready", syscall.SIGKILL, "web", "--sessions", "3s")
		harness.Eventually(t, "web has four containers", func() bool { return len(p.containerIDs(t, "web")) == 4 })
		out := p.mustRollout(t, "web", "--sessions", "0s")
		if !strings.Contains(out, "of the new version already run") {
			t.Errorf("printed\n%s", out)
		}
	})
	after := p.containerIDs(t, "web")
	harness.CheckReplaced(t, "web", before, after, 2)
	p.WaitReady(t, webService, 2)
}

func TestSecondRolloutOfAServiceIsRefused(t *testing.T) {
	harness.LongOnly(t, "test-long")
	t.Parallel()
	p := newRolloutProject(t)
	p.Setenv("ROLLOUT_VERSION", "2")
	first := p.rolloutCommand(t, "web", "--sessions", "4s")
	out := &outputWatcher{text: " ready", found: make(chan struct{})}
	first.Stdout, first.Stderr = out, out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	<-out.found
	text, err := p.rolloutCommand(t, "web").CombinedOutput()
	if err == nil || !strings.Contains(string(text), "edge: error: another rollout of web is under way") {
		t.Errorf("%v\n%s", err, text)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first rollout fails: %v\n%s", err, out)
	}
}
