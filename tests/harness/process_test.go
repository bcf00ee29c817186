package harness

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStoppedProcessHasEnded(t *testing.T) {
	p := StartProcess(t, exec.Command("sh", "-c", "echo began; exec sleep 60"))
	p.WaitForLog(t, time.Minute, "began")
	if p.HasEnded() {
		t.Error("it has ended before Stop")
	}
	if err := p.Stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if !p.HasEnded() {
		t.Error("it has not ended after Stop")
	}
	if err := p.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ends with %v", err)
	}
}

func TestStopFailsIfTheProcessEndedByItself(t *testing.T) {
	p := StartProcess(t, exec.Command("sh", "-c", "echo no; exit 3"))
	if err := p.Wait(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("Wait returns %v", err)
	}
	if err := p.Stop(syscall.SIGKILL); err == nil || !strings.HasSuffix(err.Error(), "has ended by itself: exit status 3\nno") {
		t.Errorf("Stop returns %v", err)
	}
}

func TestWaitForLogFailsWhenTheProcessEnds(t *testing.T) {
	r := &recorder{TB: t}
	r.run(func(t testing.TB) { StartProcess(t, exec.Command("true")).WaitForLog(t, time.Minute, "ready") })
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], `has not printed "ready"`) {
		t.Errorf("the test failed with %q", r.failures)
	}
}

func TestOutputOfAFailedTestIsLoggedAndItsProcessKilled(t *testing.T) {
	r := &recorder{TB: t}
	var p *Process
	r.run(func(t testing.TB) {
		p = StartProcess(t, exec.Command("sh", "-c", "echo began; exec sleep 60"))
		p.WaitForLog(t, time.Minute, "began")
		t.Error("no")
	})
	if !p.HasEnded() || len(r.logs) != 1 || !strings.HasSuffix(r.logs[0], ":\nbegan") {
		t.Errorf("ended: %t; logs: %q", p.HasEnded(), r.logs)
	}
}

// TestOutputOfARestartedProcessIsAppended: a Docker Engine keeps the log of its last process.
func TestOutputOfARestartedProcessIsAppended(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for range 2 {
		p, err := Start(exec.Command("echo", "began"), log)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if text := readFile(t, log); text != "began\nbegan\n" {
		t.Errorf("the log has %q", text)
	}
}
