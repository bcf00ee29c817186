package backup

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/theworklabs/edge/internal/lowpriority"
)

// helper runs programs with the volumes of a container that is stopped.
type helper struct {
	docker    Docker
	edgeImage string // has the command `edge volume`
	isDrill   bool

	processors string // of a drill: those that its containers use; "" for all
}

// volume runs `edge volume` on a directory, as root. It mounts the one volume: others that a container mounts inside of it could not be
// moved.
func (h *helper) volume(ctx context.Context, t journalTarget, stdin io.Reader, operation string) (string, error) {
	name := helperName()
	args := []string{"run", "--rm", "--name", name, "--network", "none", "--user", "0:0", t.Mount.option(), "--entrypoint", "edge"}
	args = append(args, h.limits()...)
	if stdin != nil {
		args = append(args, "--interactive")
	}
	var out strings.Builder
	args = append(args, h.edgeImage, "volume", operation, t.Directory)
	stderr, err := h.docker.Stream(ctx, stdin, &out, args...)
	if err != nil {
		h.remove(name)
		if _, message, found := strings.Cut(stderr, "edge: error: "); found {
			return "", fmt.Errorf("%s the volume: %s", operation, strings.TrimSpace(message))
		}
		return "", fmt.Errorf("%s the volume: %w", operation, err)
	}
	return out.String(), nil
}

// script runs a shell script in a container of a service's image, with the volumes of its container, as the user whose name the image has
// for the server.
func (h *helper) script(ctx context.Context, of *target, user string, stdin io.Reader, script string) error {
	name := helperName()
	args := []string{
		"run", "--rm", "--name", name, "--network", "none", "--user", "0:0", "--volumes-from", of.container.ID, "--tmpfs", "/tmp:mode=1777",
		"--entrypoint", "sh",
	}
	args = append(args, h.limits()...)
	if stdin != nil {
		args = append(args, "--interactive")
	}
	var priority string
	if h.isDrill {
		priority = lowpriority.Shell()
	}
	// The server's files belong to its user. Some images have su alone, some of their users no shell.
	script = `
set -eu
` + priority + `
as_user() {
	if command -v setpriv >/dev/null && setpriv --help 2>&1 | grep -q -- --reuid; then setpriv --reuid=` + user + ` --regid=` + user + ` --clear-groups "$@"
	elif command -v gosu >/dev/null; then gosu ` + user + ` "$@"
	elif command -v su-exec >/dev/null; then su-exec ` + user + ` "$@"
	else echo "the image has none of setpriv, gosu and su-exec" >&2; exit 1
	fi
}
` + script + `
echo '` + completion + `' >&2
`
	c := &container{of.container, h.docker, of.service}
	stderr, err := h.docker.Stream(ctx, stdin, io.Discard, append(args, of.container.Image, "-c", script)...)
	if err == nil && !strings.HasSuffix(strings.TrimSpace(stderr), completion) {
		err = fmt.Errorf("the command has ended early")
	}
	if err != nil {
		h.remove(name)
		return c.scriptError(ctx, err, stderr)
	}
	return nil
}

// limits returns the options by which a container leaves the processors to others.
func (h *helper) limits() []string {
	shares := lowpriority.CPUShares()
	if !h.isDrill || shares == 0 {
		return nil
	}
	args := []string{"--cpu-shares", strconv.Itoa(shares)}
	if h.processors != "" {
		args = append(args, "--cpuset-cpus", h.processors)
	}
	return args
}

func helperName() string { return "edge-restore-" + strings.ToLower(rand.Text()) }

// remove removes a helper container, which goes on if its docker command was interrupted. It usually has exited.
func (h *helper) remove(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	_, _, _ = h.docker.Run(ctx, "rm", "--force", name)
}

// serverVersion returns what the program of the target's server prints as its version.
func (h *helper) serverVersion(ctx context.Context, of *target) (string, error) {
	script := "$(command -v mariadbd || command -v mysqld) --version"
	if of.kind == Postgres {
		script = "postgres --version"
	}
	out, _, err := h.docker.Run(ctx, "run", "--rm", "--network", "none", "--entrypoint", "sh", of.container.Image, "-c", script)
	return strings.TrimSpace(out), err
}
