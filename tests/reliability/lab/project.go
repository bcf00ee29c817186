// Package lab has the parts of the suite's lab: Compose projects, a second Docker Engine, a DNS server that gives wrong answers, a log
// of the requests that arrive, and the memory of containers.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Project is a Compose project. It is safe for concurrent use.
type Project struct {
	Name string
	File string

	mu   sync.Mutex
	env  map[string]string
	lock *os.File
}

// Set sets a variable of the compose file for the calls that follow. It returns the old value.
func (p *Project) Set(name, value string) (before string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.env == nil {
		p.env = make(map[string]string)
	}
	before = p.env[name]
	p.env[name] = value
	return before
}

// Get returns a variable of the compose file; "" if it is not set.
func (p *Project) Get(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.env[name]
}

// Environ returns the process's environment with the project's variables, for commands that read the compose file.
func (p *Project) Environ() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	env := os.Environ()
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		env = append(env, name+"="+p.env[name])
	}
	return env
}

// Compose runs `docker compose` on the project and returns what it printed to stdout.
func (p *Project) Compose(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"compose", "--project-name", p.Name, "--file", p.File}, args...)
	cmd := exec.CommandContext(ctx, "docker", all...)
	cmd.Env = p.Environ()
	return runCommand(cmd)
}

// Containers returns the full IDs of a service's running containers, the oldest first.
func (p *Project) Containers(ctx context.Context, service string) ([]string, error) {
	out, err := Docker(ctx, "ps", "--no-trunc", "--quiet", "--filter", "label=com.docker.compose.project="+p.Name,
		"--filter", "label=com.docker.compose.service="+service, "--filter", "label=com.docker.compose.oneoff=False")
	ids := strings.Fields(out)
	slices.Reverse(ids) // docker lists the newest first
	return ids, err
}

// Container returns the ID of the service's oldest running container.
func (p *Project) Container(ctx context.Context, service string) (string, error) {
	ids, err := p.Containers(ctx, service)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("%s has no running container", service)
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// Addresses returns the IP addresses that a service's containers have on one of the project's networks.
func (p *Project) Addresses(ctx context.Context, service, network string) ([]string, error) {
	ids, err := p.Containers(ctx, service)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	format := fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`, p.Name+"_"+network)
	out, err := Docker(ctx, append([]string{"inspect", "--format", format}, ids...)...)
	return strings.Fields(out), err
}

// Gateway returns the host's address on one of the project's networks.
func (p *Project) Gateway(ctx context.Context, network string) (string, error) {
	return Docker(ctx, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", p.Name+"_"+network)
}

// Docker runs the docker command and returns what it printed to stdout.
func Docker(ctx context.Context, args ...string) (string, error) {
	return runCommand(exec.CommandContext(ctx, "docker", args...))
}

// runCommand runs a command and returns what it printed to stdout. An error has the last 8 lines of stderr.
func runCommand(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.Join(lines[max(len(lines)-8, 0):], "\n"))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Lock reserves the project for this process until Unlock, or until the process ends. It returns an error if another process has
// reserved it.
func (p *Project) Lock() error {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), p.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock project %s: %w", p.Name, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("project %s is in use by another run (%s): %w", p.Name, file.Name(), err)
	}
	p.lock = file
	return nil
}

// Locked reports whether this process has reserved the project.
func (p *Project) Locked() bool { return p.lock != nil }

// Unlock ends the reservation.
func (p *Project) Unlock() {
	p.lock.Close()
	p.lock = nil
}
