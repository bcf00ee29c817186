package imagecleanup

import (
	"context"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/timers"
)

// Schedule has the cleanup run each week, with what it is configured with and more arguments.
func (c *Cleanup) Schedule(ctx context.Context, arguments ...string) (*timers.Installed, error) {
	job, project, err := c.job(ctx, arguments)
	if err != nil {
		return nil, err
	}
	installed, err := timers.Install(ctx, project, timers.Directory, job)
	if err != nil {
		return nil, hint.New(err, "run it as root")
	}
	return installed, nil
}

// job returns the command that a timer runs, in whatever directory.
func (c *Cleanup) job(ctx context.Context, arguments []string) (timers.Job, compose.Project, error) {
	stack, err := c.readStack(ctx)
	if err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	if _, err := c.runningContainers(ctx, stack.Name, c.Service); err != nil {
		return timers.Job{}, compose.Project{}, err
	}
	project := c.Project
	project.Name = stack.Name
	project, _ = compose.RunningProject(ctx, c.Docker, project) // the registry runs
	args := slices.Concat([]string{"registry", "cleanup", "--service", c.Service}, c.Flags, arguments, timers.Where(project, c.Edge))
	return timers.Job{
		Name: "edge-registry-" + stack.Name, Schedule: "Sun *-*-* 03:41:00", Cron: "41 3 * * 0", Args: args, About: "Cleanup of the registry of " + stack.Name,
	}, project, nil
}
