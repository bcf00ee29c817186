package harness

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Project is a Compose project that tests run. Its methods, except Setenv, may be called concurrently while no field changes.
type Project struct {
	Name  string
	Files []string // compose files, relative to the working directory
	Env   []string // NAME=VALUE; the compose files see them after the variables of this process

	HTTP, HTTPS, Admin string // ports of the edge on loopback; "": not published
}

// Environ returns the environment of commands that read the compose files.
func (p *Project) Environ() []string { return append(os.Environ(), p.Env...) }

// Setenv sets a variable of the compose files for the calls that follow.
func (p *Project) Setenv(name, value string) { p.Env = append(p.Env, name+"="+value) }

// FileArgs returns the flags by which `docker compose` and `edge` find the project.
func (p *Project) FileArgs() []string {
	args := []string{"--project-name", p.Name}
	for _, file := range p.Files {
		args = append(args, "--file", file)
	}
	return args
}

// Compose runs `docker compose` on the project, for at most five minutes, and returns what it printed to stdout. An error has the
// end of what it printed to stderr.
func (p *Project) Compose(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := append(append(slices.Clone(composeCommand()), p.FileArgs()...), args...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = p.Environ()
	return run(cmd)
}

// composeCommand returns the command that runs `docker compose`: its plugin, where Docker says which file that is. Docker would start it twice each time,
// at first to ask what it is, which takes longer than most commands.
var composeCommand = sync.OnceValue(findCompose)

func findCompose() []string {
	fallback := []string{"docker", "compose"}
	out, err := exec.Command("docker", "info", "--format", "{{json .ClientInfo.Plugins}}").Output()
	if err != nil {
		return fallback
	}
	var plugins []struct{ Name, Path string }
	if json.Unmarshal(out, &plugins) != nil {
		return fallback
	}
	for _, p := range plugins {
		if p.Name == "compose" && filepath.IsAbs(p.Path) {
			return []string{p.Path}
		}
	}
	return fallback
}

// MustCompose runs `docker compose` as Compose does, and fails the test on an error.
func (p *Project) MustCompose(t testing.TB, args ...string) string {
	t.Helper()
	out, err := p.Compose(context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Down removes the project's containers, networks and volumes, those of all profiles included.
func (p *Project) Down(ctx context.Context) error {
	return RetryActiveEndpoints(ctx, func() error {
		_, err := p.Compose(ctx, "--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")
		return err
	})
}

// activeEndpointsTimeout is how long RetryActiveEndpoints tries.
const activeEndpointsTimeout = 30 * time.Second

// RetryActiveEndpoints calls down, and again while the error is that a network has active endpoints, for at most 30 s. On a busy
// machine the Docker Engine counts the endpoint of a container on its network for a while after `docker compose down` has removed
// the container.
func RetryActiveEndpoints(ctx context.Context, down func() error) (err error) {
	_ = EventuallyContext(ctx, activeEndpointsTimeout, "no network has active endpoints", func() bool { // err says more
		err = down()
		return err == nil || !strings.Contains(err.Error(), "has active endpoints")
	})
	return err
}
