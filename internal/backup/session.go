package backup

import (
	"context"
	"os"
	"path/filepath"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
)

// session is what all commands about backups read first: the project, and its repository.
type session struct {
	docker     Docker
	progress   *progress
	stack      *compose.Stack
	project    compose.Project // with its directory and files
	plan       *Plan
	edge       edge
	options    Options
	settings   *Settings
	repository *restic.Repository
}

// open reads the project and opens the repository. edgeName is the service of the edge: see [findEdge].
func (s *session) open(ctx context.Context, docker Docker, project compose.Project, edgeName string) (err error) {
	s.docker = docker
	if s.stack, s.project, err = readProject(ctx, docker, project); err != nil {
		return err
	}
	if s.options, _, err = ReadOptions(s.stack); err != nil {
		return err
	}
	if s.plan, err = NewPlan(s.stack, isDirectory); err != nil {
		return err
	}
	if s.settings, err = ReadSettings(s.project.Directory); err != nil {
		return err
	}
	if s.edge, err = findEdge(ctx, docker, s.stack, edgeName); err != nil {
		return err
	}
	program, err := findRestic(ctx, docker, s.edge)
	if err != nil {
		return err
	}
	s.repository = s.settings.repository(program, s.settings.Repository)
	return s.repository.Open(ctx)
}

// readProject reads a project's compose files, and finds out where they are.
func readProject(ctx context.Context, docker compose.Docker, project compose.Project) (*compose.Stack, compose.Project, error) {
	read := func() (*compose.Stack, error) {
		text, _, err := docker.Run(ctx, project.Args("config", "--format", "json")...)
		if err != nil {
			return nil, hint.New(err, "run it where compose.yaml is, or name the file with --file")
		}
		return compose.ParseStack(text)
	}
	stack, err := read()
	running := project
	if err == nil {
		running.Name = stack.Name
	}
	if running.Name != "" {
		running, _ = compose.RunningProject(ctx, docker, running)
	}
	if err != nil && len(project.Files) == 0 && len(running.Files) > 0 { // in another directory
		project = running
		stack, err = read()
	}
	if err != nil {
		return nil, project, err
	}
	if running.Directory == "" {
		if running.Directory, err = os.Getwd(); err != nil {
			return nil, project, err
		}
	}
	running.Directory, err = filepath.Abs(running.Directory)
	return stack, running, err
}
