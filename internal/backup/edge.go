package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/recovery"
)

// edge is the edge of a project. Its image has restic and the program that works on volumes; its container shows the maintenance page, and has
// the metrics of backups.
type edge struct {
	docker    Docker
	image     string // "" if there is no edge
	container string // the ID of its running container; "" if none runs
}

// findEdge returns the edge that a name means: a service of the project, or PROJECT/SERVICE.
func findEdge(ctx context.Context, docker Docker, stack *compose.Stack, name string) (edge, error) {
	e := edge{docker: docker}
	project, service, hasProject := strings.Cut(name, "/")
	if !hasProject {
		project, service = stack.Name, name
		if s := stack.Services[service]; s != nil {
			e.image = stack.ImageName(s)
		}
	}
	all, err := compose.Containers(ctx, docker, project, service)
	if err != nil {
		return e, err
	}
	for _, c := range all {
		if e.image == "" {
			e.image = c.Image
		}
		if c.State.Status == "running" {
			e.container = c.ID
		}
	}
	return e, nil
}

// errNoEdge says that the edge does not run.
var errNoEdge = errors.New("the edge does not run")

// maintenance runs `edge maintenance`. It fails if the edge has no route to the service.
func (e edge) maintenance(ctx context.Context, operation, service string, flags ...string) error {
	if e.container == "" {
		return errNoEdge
	}
	_, _, err := e.docker.Run(ctx, append([]string{"exec", e.container, "edge", "maintenance", operation, service}, flags...)...)
	return err
}

// closedServices returns the services that are in maintenance.
func (e edge) closedServices(ctx context.Context) ([]string, error) {
	if e.container == "" {
		return nil, errNoEdge
	}
	out, _, err := e.docker.Run(ctx, "exec", e.container, "edge", "maintenance", "--json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Services []struct{ Service string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("read what is in maintenance: %w", err)
	}
	var names []string
	for _, s := range answer.Services {
		names = append(names, s.Service)
	}
	return names, nil
}

// report tells the edge what has been done, for its metrics and its status.
func (e edge) report(ctx context.Context, r *recovery.Report) error {
	if e.container == "" {
		return errNoEdge
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	stderr, err := e.docker.Stream(ctx, strings.NewReader(string(text)), io.Discard, "exec", "--interactive", e.container, "edge", "backup", "report")
	if err != nil {
		if _, message, found := strings.Cut(stderr, "edge: error: "); found {
			err = errors.New(strings.TrimSpace(message))
		}
		return err
	}
	return nil
}

// helper returns the helper that works on volumes.
func (e edge) helper() (*helper, error) {
	if e.image == "" {
		return nil, hint.New(errors.New("there is no edge, whose image works on volumes"), "name its service with --edge SERVICE or --edge PROJECT/SERVICE")
	}
	return &helper{docker: e.docker, edgeImage: e.image}, nil
}

// newReport returns a report that says nothing yet.
func (s *session) newReport() *recovery.Report {
	r := &recovery.Report{
		Project: s.stack.Name, Time: time.Now().UTC(),
		MaxAgeSeconds: s.options.MaxAge.Seconds(), DrillIntervalSeconds: s.options.DrillInterval.Seconds(),
		MaxLogAgeSeconds: s.options.MaxLogAge.Seconds(),
	}
	if s.plan != nil {
		r.Apps = s.plan.names()
	}
	return r
}

// sendReport tells the edge what has been done. That it cannot is no failure of the backup.
func (s *session) sendReport(ctx context.Context, r *recovery.Report) {
	switch err := s.edge.report(context.WithoutCancel(ctx), r); {
	case errors.Is(err, errNoEdge):
		s.progress.printLine("note: no edge runs, which would have the metrics of this")
	case err != nil:
		s.progress.printLine("warning: the report could not be sent to the edge: %v", err)
	}
}

// report tells the edge what a backup has stored.
func (b *Backup) report(ctx context.Context, result *Result, start time.Time) {
	r := b.newReport()
	if b.settings.CopyTo != "" {
		r.Copy = &recovery.CopyOutcome{Error: result.CopyError}
	}
	for _, a := range result.Apps {
		one := recovery.Backup{App: a.App, Seconds: a.Seconds, Shrunk: a.Shrunk, Error: a.Error}
		if a.Error == "" {
			one.Set, one.RecoveryPoint, one.Size, one.Added = result.Set, start.UTC(), a.Size, a.Added
		}
		r.Backups = append(r.Backups, one)
	}
	b.sendReport(ctx, r)
}

// reportFailure tells the edge that no application could be backed up, and returns the error. Without a plan, there is nothing to tell: it
// then is an error of the command line or of the compose file, and the backup becomes overdue.
func (b *Backup) reportFailure(ctx context.Context, plan *Plan, err error) error {
	if plan == nil {
		return err
	}
	r := b.newReport()
	for _, app := range plan.Apps {
		r.Backups = append(r.Backups, recovery.Backup{App: app.Name, Error: err.Error()})
	}
	b.sendReport(ctx, r)
	return err
}
