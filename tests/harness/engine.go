package harness

import (
	"context"
	"errors"
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

	flags   []string // of dockerd
	netns   string   // the network namespace
	node    string   // its host name, if it has mounts and a host name of its own, as a node of a Swarm needs; "": it has the machine's
	process *Process // nil before the first start
}

// StartEngine starts a Docker Engine with more flags of dockerd. It has one image of the machine's Docker Engine and a network `lab`.
func StartEngine(ctx context.Context, image string, flags ...string) (e *Engine, err error) {
	if e, err = newEngine(ctx, flags...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Remove())
		}
	}()
	if err := e.Start(ctx); err != nil {
		return e, err
	}
	tar := filepath.Join(e.Dir, "image.tar")
	if _, err := RunDocker(ctx, "save", "--output", tar, image); err != nil {
		return e, err
	}
	if _, err := e.Docker(ctx, "load", "--quiet", "--input", tar); err != nil {
		return e, err
	}
	_, err = e.Docker(ctx, "network", "create", "lab")
	return e, err
}

// newEngine returns a Docker Engine in a new network namespace, which has not started yet.
func newEngine(ctx context.Context, flags ...string) (*Engine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start a second Docker Engine: this needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "er-") // short, because the length of socket paths is limited
	if err != nil {
		return nil, err
	}
	e := &Engine{Dir: dir, Socket: filepath.Join(dir, "d.sock"), netns: filepath.Base(dir), flags: flags}
	if err := runIP(ctx, "netns add "+e.netns, "-netns "+e.netns+" link set lo up"); err != nil {
		return nil, errors.Join(err, e.Remove())
	}
	return e, nil
}

// runIP runs commands of ip(8), whose arguments have no spaces.
func runIP(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if _, err := run(exec.CommandContext(ctx, "ip", strings.Fields(c)...)); err != nil {
			return err
		}
	}
	return nil
}

// Start starts the Docker Engine and waits until it answers.
func (e *Engine) Start(ctx context.Context) (err error) {
	args := append([]string{
		"--host", "unix://" + e.Socket, "--data-root", filepath.Join(e.Dir, "data"), "--exec-root", filepath.Join(e.Dir, "exec"),
		"--pidfile", filepath.Join(e.Dir, "pid"),
	}, e.flags...)
	if e.process, err = Start(e.dockerd(args), filepath.Join(e.Dir, "log")); err != nil {
		return err
	}
	err = EventuallyContext(ctx, StateTimeout, "the second Docker Engine answers", func() bool {
		_, err := e.Docker(ctx, "info")
		return err == nil || e.process.HasEnded()
	})
	if err == nil && e.process.HasEnded() {
		err = e.process.Signal(0) // it has the end of the log
	}
	return err
}

// dockerd returns its command. Each program in the chain replaces itself by the next one, so that dockerd gets signals.
func (e *Engine) dockerd(args []string) *exec.Cmd {
	if e.node == "" {
		return e.commandInNetns("dockerd", args...)
	}
	script := `hostname "$0" && mkdir -p /run/docker && mount -t tmpfs tmpfs /run/docker && exec dockerd "$@"`
	return e.commandInNetns("unshare", append([]string{"--uts", "--mount", "--propagation", "private", "sh", "-c", script, e.node}, args...)...)
}

// Signal sends a signal to dockerd.
func (e *Engine) Signal(s syscall.Signal) error { return e.process.Signal(s) }

// Stop ends the Docker Engine with a signal and waits until it has ended. With --live-restore, its containers go on running.
func (e *Engine) Stop(s syscall.Signal) error {
	if !e.process.HasEnded() {
		_ = e.process.Stop(s) // it may end in this moment
	}
	// containerd ends with dockerd, but may stay a zombie for a while. The next dockerd would wait for the process with its PID.
	return errors.Join(os.RemoveAll(filepath.Join(e.Dir, "pid")),
		os.RemoveAll(filepath.Join(e.Dir, "exec", "containerd", "containerd.pid")))
}

// StartEdge runs an edge in the Docker Engine's network namespace, in front of its containers. The caller stops it. An edge that
// listens on a unix socket can be reached by processes in every network namespace.
func (e *Engine) StartEdge(binary, caddyfile string) (*Process, error) {
	cmd, err := edgeCommand(e.Dir, binary, caddyfile, e.commandInNetns)
	if err != nil {
		return nil, err
	}
	return Start(cmd, filepath.Join(e.Dir, "edge.log"))
}

// commandInNetns returns a command that runs in the Docker Engine's network namespace. `ip netns exec` would hide the cgroups. nsenter
// replaces itself by the command, so that the command gets signals.
func (e *Engine) commandInNetns(name string, args ...string) *exec.Cmd {
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
	if e.process != nil {
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
