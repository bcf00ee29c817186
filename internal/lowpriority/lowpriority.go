// Package lowpriority has commands run behind everything else on the machine.
//
// A nice value alone is not enough: the kernel compares it only within a session (sched_autogroup_enabled) or a control group, so that a backup from a terminal
// would get as much as all containers together.
package lowpriority

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// nice is the nice value: a tenth of the processor's time if others want all of it, so that a backup goes on.
const nice = 10

// Prepare gives a command that is not started yet a session of its own.
func Prepare(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setpgid = true, false // a session is a process group, too
}

// Apply lowers the priority of a command that has been started. It does what the kernel and the user's rights allow.
func Apply(pid int) {
	_ = syscall.Setpriority(syscall.PRIO_PGRP, pid, nice)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), fmt.Append(nil, nice), 0)
	const (
		whoProcessGroup = 2
		idle            = 3 << 13
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcessGroup, uintptr(pid), idle)
}
