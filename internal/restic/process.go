package restic

import (
	"os/exec"
	"syscall"
	"time"

	"github.com/theworklabs/edge/internal/lowpriority"
)

// process is a running restic.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has exited
	err    error         // of its exit; set before exited is closed
}

// start starts a restic in a process group of its own: Ctrl-C at a terminal must reach only this process, which stops restic when its stream
// has been closed.
func (r *Repository) start(cmd *exec.Cmd) (*process, error) {
	lowpriority.Prepare(cmd) // a session is a process group, too
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if r.IsLowPriority {
		lowpriority.Apply(cmd.Process.Pid)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// interrupt asks restic to stop. It does so only when its standard input ends, too.
func (p *process) interrupt() {
	select {
	case <-p.exited: // its number may be another process's
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT)
	}
}

// stop interrupts restic, kills it if it does not exit, and returns when it has exited.
func (p *process) stop() {
	p.interrupt()
	p.waitOrKill()
}

// waitOrKill waits until restic has exited, and kills it after the grace. A killed restic leaves a lock, which [Repository.Unlock] removes.
func (p *process) waitOrKill() {
	select {
	case <-p.exited:
	case <-time.After(stopGrace):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
}
