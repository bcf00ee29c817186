// Package lowpriority has commands and containers run behind everything else on the machine.
//
// A nice value alone is not enough: the kernel compares it only within a session (sched_autogroup_enabled) or a control group, so that a backup from a terminal
// would get as much as all containers together.
package lowpriority

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Variable has a nice value from 0 (as everything else) to 19.
const Variable = "EDGE_BACKUP_NICE"

// defaultNice leaves a backup a tenth of the processors if others want all of them, so that it goes on.
const defaultNice = 10

func niceValue() int {
	if n, err := strconv.Atoi(os.Getenv(Variable)); err == nil && n >= 0 && n <= 19 {
		return n
	}
	return defaultNice
}

// Prepare gives a command that is not started yet a session of its own.
func Prepare(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setpgid = true, false // a session is a process group, too
}

// Apply lowers the priority of a command that has been started. It does what the kernel and the user's rights allow.
func Apply(pid int) {
	nice := niceValue()
	if nice == 0 {
		return
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, pid, nice)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), fmt.Append(nil, nice), 0)
	const (
		whoProcessGroup = 2
		idle            = 3 << 13
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcessGroup, uintptr(pid), idle)
}

// ApplyToSelf lowers the priority of this process, and of the commands that it starts from now on, and leaves half of the processors to others. The kernel lets a
// thread of any weight finish its time slice, which is longer than most requests take.
func ApplyToSelf() {
	nice := niceValue()
	if nice == 0 {
		return
	}
	var allowed unix.CPUSet
	isLimited := unix.SchedGetaffinity(0, &allowed) == nil && allowed.Count() > 1
	if isLimited {
		allowed = lastHalf(allowed)
	}
	threads, _ := os.ReadDir("/proc/self/task") // new threads have what the thread has that starts them
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, nice)
		if isLimited {
			_ = unix.SchedSetaffinity(id, &allowed)
		}
	}
}

// lastHalf returns the last half of the processors of a set.
func lastHalf(all unix.CPUSet) unix.CPUSet {
	first := all.Count() / 2
	for cpu := 0; first > 0; cpu++ {
		if all.IsSet(cpu) {
			all.Clear(cpu)
			first--
		}
	}
	return all
}

// Shell returns commands that do for a shell script, and for the programs that it runs, what [ApplyToSelf] does: as far as a container's processors are numbered from 0, and
// its image has the programs.
func Shell() string {
	nice := niceValue()
	if nice == 0 {
		return ""
	}
	return fmt.Sprintf(`renice -n %d $$ >/dev/null 2>&1 || true
cpus=$(nproc 2>/dev/null || echo 1)
[ "$cpus" -lt 2 ] || taskset -pc $((cpus / 2))-$((cpus - 1)) $$ >/dev/null 2>&1 || true
`, nice)
}

// Processors returns the last half of n processors, as Docker names them; "" for no limit. A share alone leaves others waiting: the kernel compares it only while a thread waits for
// a processor, and lets the thread that has one finish its time slice.
func Processors(n int) string {
	if niceValue() == 0 || n < 2 {
		return ""
	}
	return fmt.Sprintf("%d-%d", n/2, n-1)
}

// CPUShares returns Docker's weight of a container, of which others have 1024; 0 for no limit. As the kernel does, each step of the nice value takes a fifth.
func CPUShares() int {
	nice := niceValue()
	if nice == 0 {
		return 0
	}
	shares := 1024.0
	for range nice {
		shares /= 1.25
	}
	return max(2, int(shares))
}
