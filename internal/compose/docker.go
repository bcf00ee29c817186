// Package compose runs docker and docker compose as a person at a terminal would.
package compose

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Docker runs the docker command.
type Docker interface {
	// Run runs `docker args…` to its end and returns what it printed. The error names the command and its last words.
	// When ctx ends, the command is interrupted.
	Run(ctx context.Context, args ...string) (stdout, stderr string, err error)
}

// CLI is the docker command of this machine, with the environment of this process: DOCKER_HOST and contexts work. It is
// safe for concurrent use.
type CLI struct{}

// interruptGrace is how long an interrupted command may take before it is killed.
const interruptGrace = 10 * time.Second

// Run implements [Docker]. The command is in a process group of its own: a Ctrl-C at the terminal is for us alone, and
// would otherwise end a `docker compose up` half-way, at a moment when nothing runs.
func (CLI) Run(ctx context.Context, args ...string) (string, string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	kill := interruptAsGroup(cmd)
	defer kill()
	cmd.WaitDelay = interruptGrace + time.Second
	err := cmd.Run()
	if err != nil {
		if last := lastLines(stderr.String(), 8); last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
		err = fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return stdout.String(), stderr.String(), err
}

// lastLines returns the last n lines of a text that are not empty.
func lastLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
