// Package compose runs the docker command, and models the compose files of a project.
package compose

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/lowpriority"
)

// Docker runs the docker command.
type Docker interface {
	// Run runs `docker args…`, waits until it exits, and returns its output. The error has the command and the last lines of stderr.
	// When ctx ends, Run interrupts the command.
	Run(ctx context.Context, args ...string) (stdout, stderr string, err error)
}

// StreamingDocker is a [Docker] that also passes streams to a command.
type StreamingDocker interface {
	Docker
	// Stream runs `docker args…` like Run, with stdin as its input, which may be nil, and stdout as its output. It returns what the command
	// writes to stderr.
	Stream(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) (stderr string, err error)
}

// CLI is the docker command of this machine. It has the environment of this process, so that DOCKER_HOST and Docker contexts work.
// It is safe for concurrent use.
type CLI struct {
	Host          string // of the Engine, as for docker --host; "" for the environment's
	IsLowPriority bool   // the command runs behind everything else on the machine
}

// interruptGrace is how long an interrupted command may take to exit before it is killed.
const interruptGrace = 10 * time.Second

// Run implements [Docker]. The command has a process group of its own, so that Ctrl-C at a terminal reaches only this process.
// Otherwise it could end `docker compose up` after an old container has stopped and before a new one has started.
func (c CLI) Run(ctx context.Context, args ...string) (string, string, error) {
	var stdout bytes.Buffer
	stderr, err := c.Stream(ctx, nil, &stdout, args...)
	return stdout.String(), stderr, err
}

// Stream implements [StreamingDocker].
func (c CLI) Stream(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) (string, error) {
	if c.Host != "" {
		args = append([]string{"--host", c.Host}, args...)
	}
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	kill := interruptAsGroup(cmd)
	defer kill()
	cmd.WaitDelay = interruptGrace + time.Second
	if c.IsLowPriority {
		lowpriority.Prepare(cmd)
	}
	err := cmd.Start()
	if err == nil {
		if c.IsLowPriority {
			lowpriority.Apply(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	if err != nil {
		if last := lastLines(stderr.String(), 8); last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
		err = fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return stderr.String(), err
}

// lastLines returns the last n non-empty lines of a text.
func lastLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
