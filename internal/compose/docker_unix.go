//go:build unix

package compose

import (
	"os/exec"
	"syscall"
	"time"
)

// interruptAsGroup gives the command a process group of its own, and has the end of its context interrupt the whole group:
// `docker compose` is two processes. The caller calls ended when the command has exited.
func interruptAsGroup(cmd *exec.Cmd) (ended func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var kill *time.Timer
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		kill = time.AfterFunc(interruptGrace, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		return syscall.Kill(group, syscall.SIGINT)
	}
	return func() {
		if kill != nil {
			kill.Stop()
		}
	}
}
