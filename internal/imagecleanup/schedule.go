package imagecleanup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/timers"
)

// Schedule has the cleanup run each week, with its flags and more.
func (c *Cleanup) Schedule(ctx context.Context, flags ...string) (*timers.Timers, error) {
	job, project, err := c.job(ctx, flags)
	if err != nil {
		return nil, err
	}
	t, err := timers.Install(ctx, project, timers.Directory, job)
	if errors.Is(err, fs.ErrPermission) {
		err = hint.New(err, "run it as root")
	}
	return t, err
}

// job returns the command that a timer runs, which finds the project from any directory.
func (c *Cleanup) job(ctx context.Context, flags []string) (timers.Job, compose.Project, error) {
	stack, err := c.readStack(ctx, c.Project)
	if err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	if _, err := c.runningContainers(ctx, stack.Name, c.Service); err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	project, err := c.absoluteProject(ctx, stack.Name)
	if err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	// Not all of the files may have been named when the container that tells them was created.
	if stack, err = c.readStack(ctx, project); err == nil && stack.Services[c.Service] == nil {
		err = hint.New(fmt.Errorf("the compose files %q have no service %s", project.Files, c.Service), "name all files with --file")
	}
	if err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	name := "edge-registry-" + stack.Name
	if c.Service != "registry" {
		name += "-" + c.Service
	}
	args := slices.Concat([]string{"registry", "cleanup", "--service", c.Service}, c.Flags, flags, timers.ProjectFlags(project, c.Edge))
	for _, profile := range project.Profiles {
		args = append(args, "--profile", profile)
	}
	return timers.Job{
		Name: name, Schedule: "Sun *-*-* 03:41:00", Cron: "41 3 * * 0", Args: args, About: "Cleanup of the registry of " + stack.Name,
		StopTimeout: deleteTimeout + stopTimeout + startTimeout + 4*undoTimeout,
	}, project, nil
}

// absoluteProject returns the project with its name, and absolute paths: those that it has, or those that its containers come from.
func (c *Cleanup) absoluteProject(ctx context.Context, name string) (compose.Project, error) {
	project := c.Project
	project.Name = name
	if running, ok := compose.RunningProject(ctx, c.Docker, project); ok && len(project.Files) == 0 {
		project = running
	}
	if project.Directory == "" && len(project.Files) > 0 {
		project.Directory = filepath.Dir(project.Files[0]) // as Compose does
	}
	if project.Directory == "" {
		project.Directory = "."
	}
	directory, err := os.Getwd()
	if err != nil {
		return project, err
	}
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(directory, path)
	}
	project.Directory = absolute(project.Directory)
	project.Files, project.EnvFiles = slices.Clone(project.Files), slices.Clone(project.EnvFiles)
	for _, paths := range [][]string{project.Files, project.EnvFiles} {
		for i := range paths {
			paths[i] = absolute(paths[i])
		}
	}
	return project, nil
}
