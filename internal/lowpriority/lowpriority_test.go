package lowpriority

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestACommandHasALowPriority(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	Prepare(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := cmd.Process.Pid
	Apply(pid)
	if got, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid); err != nil || 20-got != defaultNice { // the kernel answers 20 minus the nice value
		t.Errorf("the priority is %d, %v", got, err)
	}
	if session, err := syscall.Getpgid(pid); err != nil || session != pid {
		t.Errorf("the group is %d, %v", session, err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid))
	if err == nil && !strings.HasSuffix(strings.TrimSpace(string(text)), fmt.Sprintf("nice %d", defaultNice)) { // not every kernel has it
		t.Errorf("the session's priority is %s", text)
	}
}

func TestContainersHaveALowShare(t *testing.T) {
	for value, want := range map[string]int{"": 109, "10": 109, "19": 14, "0": 0, "20": 109, "x": 109} {
		t.Setenv(Variable, value)
		if got := CPUShares(); got != want {
			t.Errorf("%s=%s: %d, want %d", Variable, value, got, want)
		}
	}
}
