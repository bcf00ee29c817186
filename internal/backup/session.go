package backup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/time/rate"

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
	// isLowPriority has restic run behind everything else on the machine: in all but restores, for which somebody waits.
	isLowPriority bool
	limiter       *rate.Limiter // of the bytes that a backup reads and a drill writes; nil is no limit
}

// openProject reads the project, and finds its edge. edgeName is the service of the edge: see [findEdge].
func (s *session) openProject(ctx context.Context, docker Docker, project compose.Project, edgeName string) (err error) {
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
	s.edge, err = findEdge(ctx, docker, s.stack, edgeName)
	return err
}

// findRepository reads where the repository of the project is. Its first use shows whether it can be opened.
func (s *session) findRepository(ctx context.Context) (err error) {
	if s.settings == nil {
		if s.settings, err = ReadSettings(s.project.Directory); err != nil {
			return err
		}
	}
	program, err := findRestic(ctx, s.docker, s.edge)
	if err != nil {
		return err
	}
	s.settings.isLowPriority = s.isLowPriority
	s.repository = s.settings.repository(program, s.settings.Repository)
	return nil
}

// readProject reads a project's compose files, and finds out where they are. The profiles of services that have containers are active, as if
// they were named: somebody has started them by hand.
func readProject(ctx context.Context, docker compose.Docker, project compose.Project) (*compose.Stack, compose.Project, error) {
	stack, err := readStack(ctx, docker, project)
	running := project
	if err == nil {
		running.Name = stack.Name
	}
	if running.Name != "" {
		running, _ = compose.RunningProject(ctx, docker, running)
	}
	if err != nil && len(project.Files) == 0 && len(running.Files) > 0 { // in another directory
		project = running
		stack, err = readStack(ctx, docker, project)
	}
	if err != nil {
		return nil, project, err
	}
	profiles, err := startedProfiles(ctx, docker, project, stack)
	if err != nil {
		return nil, project, err
	}
	if len(profiles) > 0 {
		project.Profiles = slices.Concat(project.Profiles, profiles)
		running.Profiles = project.Profiles
		if stack, err = readStack(ctx, docker, project); err != nil {
			return nil, project, err
		}
	}
	if running.Directory == "" {
		if running.Directory, err = os.Getwd(); err != nil {
			return nil, project, err
		}
	}
	running.Directory, err = filepath.Abs(running.Directory)
	return stack, running, err
}

func readStack(ctx context.Context, docker compose.Docker, project compose.Project) (*compose.Stack, error) {
	text, _, err := docker.Run(ctx, project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, hint.New(err, "run it where compose.yaml is, or name the file with --file")
	}
	return compose.ParseStack(text)
}

// startedProfiles returns the profiles of services that have containers, although none of their profiles is active.
func startedProfiles(ctx context.Context, docker compose.Docker, project compose.Project, stack *compose.Stack) ([]string, error) {
	out, _, err := docker.Run(ctx, "ps", "--all", "--filter", "label=com.docker.compose.project="+stack.Name, "--filter", "label=com.docker.compose.oneoff=False",
		"--format", `{{.Label "com.docker.compose.service"}}`)
	if err != nil {
		return nil, err
	}
	started := slices.DeleteFunc(strings.Fields(out), func(name string) bool { return stack.Services[name] != nil })
	if len(started) == 0 {
		return nil, nil
	}
	all := project
	all.Profiles = []string{"*"}
	whole, err := readStack(ctx, docker, all)
	if err != nil {
		return nil, err
	}
	var profiles []string
	for _, name := range started {
		if service := whole.Services[name]; service != nil && len(service.Profiles) > 0 { // the others are no longer in the file
			profiles = append(profiles, service.Profiles[0])
		}
	}
	slices.Sort(profiles)
	return slices.Compact(profiles), nil
}
