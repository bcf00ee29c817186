package lowpriority

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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

func TestContainersLeaveHalfOfTheProcessors(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "", 2: "1-1", 3: "1-2", 8: "4-7"} {
		if got := Processors(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	t.Setenv(Variable, "0")
	if got := Processors(8); got != "" {
		t.Errorf("%q, want no limit", got)
	}
}

// TestThisProcessHasALowPriority runs this test once more, as the process whose priority is lowered.
func TestThisProcessHasALowPriority(t *testing.T) {
	const isChild = "LOWPRIORITY_TEST_CHILD"
	if os.Getenv(isChild) != "" {
		ApplyToSelf()
		// A command that is started later, on whatever thread.
		out, err := exec.Command("sh", "-c", "nice; nproc").CombinedOutput()
		fmt.Printf("child: %s %v\n", strings.Join(strings.Fields(string(out)), " "), err)
		return
	}
	for nice, want := range map[string]string{
		"":  fmt.Sprintf("child: %d %d <nil>", defaultNice, max(1, (runtime.NumCPU()+1)/2)),
		"0": fmt.Sprintf("child: 0 %d <nil>", runtime.NumCPU()),
	} {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), isChild+"=1", Variable+"="+nice)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s=%s: %v, %s, want %s", Variable, nice, err, out, want)
		}
	}
}

func TestHalfOfTheProcessorsStayFree(t *testing.T) {
	for _, c := range []struct{ all, want []int }{
		{[]int{0, 1}, []int{1}},
		{[]int{2, 3, 5}, []int{3, 5}},
		{[]int{0, 1, 2, 3, 64, 65}, []int{3, 64, 65}},
	} {
		var all, want unix.CPUSet
		for _, cpu := range c.all {
			all.Set(cpu)
		}
		for _, cpu := range c.want {
			want.Set(cpu)
		}
		if got := lastHalf(all); got != want {
			t.Errorf("%v: got %v, want %v", c.all, got, c.want)
		}
	}
}

func TestScriptsHaveALowPriority(t *testing.T) {
	run := func() string {
		out, err := exec.Command("sh", "-euc", Shell()+"nice; nproc").CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	if want := fmt.Sprintf("%d %d", defaultNice, max(1, (runtime.NumCPU()+1)/2)); run() != want {
		t.Errorf("got %s, want %s", run(), want)
	}
	t.Setenv("PATH", t.TempDir()) // an image that has none of the programs
	sh, err := exec.LookPath("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(sh, "-euc", Shell()+"echo done").CombinedOutput(); err != nil || string(out) != "done\n" {
		t.Errorf("%v: %s", err, out)
	}
	t.Setenv(Variable, "0")
	if Shell() != "" {
		t.Errorf("got %q", Shell())
	}
}
