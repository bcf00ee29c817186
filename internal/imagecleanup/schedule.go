package imagecleanup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

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
	registries, err := c.runningContainers(ctx, stack.Name, c.Service)
	if err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	project, err := c.absoluteProject(stack.Name, registries[0])
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
		name += "." + c.Service // which no project's name has
	}
	args := slices.Concat([]string{"registry", "cleanup", "--service", c.Service}, c.Flags, flags, timers.ProjectFlags(project, c.Edge))
	for _, profile := range project.Profiles {
		args = append(args, "--profile", profile)
	}
	return timers.Job{
		Name: name, Schedule: "Sun *-*-* 03:41:00", Cron: "41 3 * * 0", Args: args, About: "Cleanup of the registry of " + stack.Name,
		StopTimeout: undoAllTimeout,
	}, project, nil
}

// undoAllTimeout is how long systemd waits for a cleanup that it stops, before it kills it: a machine that shuts down does not wait longer.
const undoAllTimeout = 15 * time.Minute

// absoluteProject returns the project with its name, and absolute paths: those that it has, or those that the registry's container comes from.
func (c *Cleanup) absoluteProject(name string, registry compose.Container) (compose.Project, error) {
	project := c.Project
	project.Name = name
	if len(project.Files) == 0 {
		project, _ = compose.ContainerProject(project, registry) // or Compose's usual ones
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
