package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs beside Docker. Its methods are safe for concurrent use.
type Process struct {
	Log string // the file that has its output

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // of its end; read it after ended is closed
}

// Start starts a command. Its output is appended to the file log.
func Start(cmd *exec.Cmd, log string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Log: log, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// StartProcess starts a command, which the end of the test kills. If the test has failed, it logs the end of the output.
func StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p, err := Start(cmd, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Stop(syscall.SIGKILL) // it may have ended already
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", filepath.Base(cmd.Path), lastLines(p.Output(), 100))
		}
	})
	return p
}

// StartEdge runs an edge with a Caddyfile until the end of the test, as StartProcess does; env are more variables.
func StartEdge(t testing.TB, caddyfile string, env ...string) *Process {
	t.Helper()
	cmd, err := edgeCommand(t.TempDir(), Edge(t), caddyfile, exec.Command)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, env...)
	return StartProcess(t, cmd)
}

// edgeCommand writes a Caddyfile into dir and returns the command, made by newCommand, of an edge that uses it and keeps its files
// in dir.
func edgeCommand(dir, binary, caddyfile string, newCommand func(string, ...string) *exec.Cmd) (*exec.Cmd, error) {
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	cmd := newCommand(binary, "run", "--config", config)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return cmd, nil
}

// PID returns the process's ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// HasEnded reports whether the process has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Wait waits until the process has ended. It returns nil if the exit status is 0.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Signal sends a signal to the process. It returns an error with the end of the output if the process has ended.
func (p *Process) Signal(s syscall.Signal) error {
	err := os.ErrProcessDone
	if !p.HasEnded() {
		err = p.cmd.Process.Signal(s)
	}
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s has ended by itself: %v\n%s", p.cmd.Path, p.Wait(), lastLines(p.Output(), 100))
	}
	return err
}

// Stop sends a signal that ends the process, and waits until it has ended. It returns Signal's error, not that of the process.
func (p *Process) Stop(s syscall.Signal) error {
	err := p.Signal(s)
	<-p.ended
	return err
}

// Output returns what the process has printed.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// WaitForLog waits until the process has printed a text. It fails the test after limit, or when the process ends without it.
func (p *Process) WaitForLog(t testing.TB, limit time.Duration, text string) {
	t.Helper()
	EventuallyWithin(t, limit, fmt.Sprintf("%s prints %q", p.cmd.Path, text), func() bool {
		hasEnded := p.HasEnded() // looked at before the output
		if strings.Contains(p.Output(), text) {
			return true
		}
		if hasEnded {
			t.Fatalf("%s has ended and has not printed %q: %v", p.cmd.Path, text, p.Wait())
		}
		return false
	})
}
