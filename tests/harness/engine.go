package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Engine is a second Docker Engine. It runs in a network namespace of its own, so that it does not change the machine's Docker Engine,
// bridges and firewall rules. It needs root.
type Engine struct {
	Dir    string // has all its files
	Socket string

	netns string // the network namespace
	cmd   *exec.Cmd
	ended chan struct{} // closed when dockerd has ended
}

// StartEngine starts a Docker Engine with --live-restore, so that its containers outlive it. It has one image of the machine's Docker
// Engine and a network `lab`.
func StartEngine(ctx context.Context, image string) (e *Engine, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start a second Docker Engine: this needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "er-") // short, because the length of socket paths is limited
	if err != nil {
		return nil, err
	}
	e = &Engine{Dir: dir, Socket: filepath.Join(dir, "d.sock"), netns: filepath.Base(dir)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Remove())
		}
	}()
	for _, args := range [][]string{{"netns", "add", e.netns}, {"-netns", e.netns, "link", "set", "lo", "up"}} {
		if _, err := run(exec.CommandContext(ctx, "ip", args...)); err != nil {
			return e, err
		}
	}
	if err := e.Start(ctx); err != nil {
		return e, err
	}
	tar := filepath.Join(dir, "image.tar")
	if _, err := RunDocker(ctx, "save", "--output", tar, image); err != nil {
		return e, err
	}
	if _, err := e.Docker(ctx, "load", "--quiet", "--input", tar); err != nil {
		return e, err
	}
	_, err = e.Docker(ctx, "network", "create", "lab")
	return e, err
}

// Start starts the Docker Engine and waits until it answers.
func (e *Engine) Start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(e.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e.cmd = e.CommandInNetns("dockerd", "--host", "unix://"+e.Socket, "--data-root", filepath.Join(e.Dir, "data"),
		"--exec-root", filepath.Join(e.Dir, "exec"), "--pidfile", filepath.Join(e.Dir, "pid"), "--live-restore")
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		return err
	}
	e.ended = make(chan struct{})
	go func() {
		defer close(e.ended)
		_ = e.cmd.Wait() // the error is that of a killed process, or the log says more
	}()
	for {
		if _, err := e.Docker(ctx, "info"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start a Docker Engine: %w", ctx.Err())
		case <-e.ended:
			text, _ := os.ReadFile(log.Name()) // the file exists
			return fmt.Errorf("start a Docker Engine: dockerd exited; the end of its log: %s", text[max(len(text)-2000, 0):])
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the Docker Engine with a signal and waits until it has ended. Its containers go on running.
func (e *Engine) Stop(signal syscall.Signal) error {
	if err := e.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-e.ended
	// containerd ends with dockerd, but may stay a zombie for a while. The next dockerd would wait for the process with its PID.
	return errors.Join(os.RemoveAll(filepath.Join(e.Dir, "pid")),
		os.RemoveAll(filepath.Join(e.Dir, "exec", "containerd", "containerd.pid")))
}

// CommandInNetns returns a command that runs in the Docker Engine's network namespace. `ip netns exec` would hide the cgroups. nsenter
// replaces itself by the command, so that the command gets signals.
func (e *Engine) CommandInNetns(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + e.netns, name}, args...)...)
}

// Docker runs the docker command on this Docker Engine.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	return RunDocker(ctx, append([]string{"--host", "unix://" + e.Socket}, args...)...)
}

// Remove stops the Docker Engine and removes what it has made.
func (e *Engine) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if e.ended != nil {
		if _, err := e.Docker(ctx, "info"); err != nil { // only a running Docker Engine can remove containers
			errs = append(errs, e.Stop(syscall.SIGKILL), e.Start(ctx))
		}
		ids, err := e.Docker(ctx, "ps", "--all", "--quiet")
		errs = append(errs, err)
		for _, id := range strings.Fields(ids) {
			_, err := e.Docker(ctx, "rm", "--force", id)
			errs = append(errs, err)
		}
		_, _ = e.Docker(ctx, "network", "rm", "lab") // it may not exist
		errs = append(errs, e.Stop(syscall.SIGTERM))
	}
	errs = append(errs, e.unmount(ctx))
	_, err := run(exec.CommandContext(ctx, "ip", "netns", "delete", e.netns))
	return errors.Join(append(errs, err, os.RemoveAll(e.Dir))...)
}

// unmount removes the mounts in the Docker Engine's directory. dockerd mounts its data directory onto itself, and leaves the mount
// behind when it is killed.
func (e *Engine) unmount(ctx context.Context) error {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], e.Dir+"/") {
			_, err := run(exec.CommandContext(ctx, "umount", "--lazy", fields[1]))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
