package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Docker runs the docker command, also with streams.
type Docker = compose.StreamingDocker

// container runs commands in the container of a service.
type container struct {
	compose.Container
	docker  Docker
	service string
}

// errNotRunning says that a service has no running container.
var errNotRunning = errors.New("does not run")

// findContainer returns the running container of a service. A service whose data is stored has one container.
func findContainer(ctx context.Context, docker Docker, project, service string) (*container, error) {
	all, err := compose.Containers(ctx, docker, project, service)
	if err != nil {
		return nil, err
	}
	var running []compose.Container
	for _, c := range all {
		if c.State.Status == "running" {
			running = append(running, c)
		}
	}
	if len(running) == 0 {
		return nil, hint.New(fmt.Errorf("%s %w", service, errNotRunning), "docker compose up --detach "+service)
	}
	return &container{running[0], docker, service}, nil
}

// findFiles returns the container whose volumes have the files of a service. It need not run.
func findFiles(ctx context.Context, docker Docker, project, service string) (*container, error) {
	c, err := findContainer(ctx, docker, project, service)
	if err == nil {
		return c, nil
	}
	all, listErr := compose.Containers(ctx, docker, project, service)
	if listErr != nil || len(all) == 0 {
		return nil, err
	}
	return &container{all[0], docker, service}, nil
}

// completion is the last line that a script writes to stderr. Its exit status alone is not enough: `docker exec` exits with 0 if its
// connection to the Engine ends.
const completion = "edge-backup: complete"

// processKey is the variable by which the processes of a script are found.
const processKey = "EDGE_BACKUP_PROCESS"

// run runs a shell script in the container, and returns what it wrote to stderr. The script's commands have a low priority. If it fails or
// ctx ends, run ends all of its processes: `docker exec` leaves them running.
func (c *container) run(ctx context.Context, stdin io.Reader, stdout io.Writer, script string) (stderr string, err error) {
	token := rand.Text()
	args := []string{"exec", "--env", processKey + "=" + token}
	if stdin != nil {
		args = append(args, "--interactive")
	}
	script = "set -eu\n" + script + "\necho '" + completion + "' >&2\n"
	stderr, err = c.docker.Stream(ctx, stdin, stdout, append(args, c.ID, "sh", "-c", script)...)
	if err == nil && !strings.HasSuffix(strings.TrimSpace(stderr), completion) {
		err = errors.New("the command has ended early")
	}
	if err != nil {
		err = c.scriptError(ctx, err, stderr)
		return stderr, errors.Join(err, c.kill(token))
	}
	return stderr, nil
}

// scriptError returns why a script failed, without the script itself.
func (c *container) scriptError(ctx context.Context, err error, stderr string) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var lines []string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		if unwrapped := errors.Unwrap(err); unwrapped != nil { // without the command line
			err = unwrapped
		}
		return fmt.Errorf("%s: %w", c.service, err)
	}
	return fmt.Errorf("%s: %s", c.service, strings.Join(lines[max(0, len(lines)-3):], "; "))
}

// killTimeout bounds the search for the processes of a script.
const killTimeout = 30 * time.Second

// kill ends the processes of a script. It is no error that the container has gone.
func (c *container) kill(token string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	script := `
find_all() {
	for directory in /proc/[0-9]*; do
		if tr '\0' '\n' <"$directory/environ" 2>/dev/null | grep -qx '` + processKey + `=` + token + `'; then echo "${directory#/proc/}"; fi
	done
}
for signal in TERM TERM KILL; do
	all=$(find_all)
	[ -n "$all" ] || exit 0
	kill -s $signal $all 2>/dev/null || true
	sleep 1
done
[ -z "$(find_all)" ]`
	_, err := c.docker.Stream(ctx, nil, io.Discard, "exec", c.ID, "sh", "-c", script)
	if err == nil {
		return nil
	}
	state, _, inspectErr := c.docker.Run(ctx, "inspect", "--format", "{{.State.Running}}", c.ID)
	if inspectErr != nil || strings.TrimSpace(state) != "true" {
		return nil
	}
	return fmt.Errorf("the command still runs in %s: %w", c.Name, err)
}

// copyOut writes a directory of the container to w, as a tar archive. The container needs no program for it.
func (c *container) copyOut(ctx context.Context, path string, w io.Writer) error {
	// With the dot, the names in the archive are relative to the directory.
	stderr, err := c.docker.Stream(ctx, nil, w, "cp", c.ID+":"+strings.TrimSuffix(path, "/")+"/.", "-")
	if err != nil {
		return c.scriptError(ctx, err, stderr)
	}
	return nil
}
