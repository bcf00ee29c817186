package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Undo puts the images back that ran before the last deployment of a service, and of those that were deployed with it. d.Images is not read.
func (d *Deploy) Undo(ctx context.Context, service string) error {
	r, unlock, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return r.undo(ctx, service)
}

// undo goes back by one deployment, which may have been of several services.
func (r *run) undo(ctx context.Context, service string) error {
	last := r.pins.undoable(service)
	if last == nil {
		return hint.New(fmt.Errorf("%s has no deployment to undo", service), "edge deploy --list shows the deployments")
	}
	begin := last.Time
	var all []change
	for _, name := range slices.Sorted(maps.Keys(r.pins.Deployments)) {
		d := r.pins.undoable(name)
		if d == nil || !d.Time.Equal(begin) || r.stack.Services[name] == nil {
			continue
		}
		image := d.Previous
		c := change{service: name, wasPinned: r.pins.Services[name].Image, deployment: Deployment{Image: image, Pinned: image, Previous: d.Pinned, By: r.By, Result: Started, IsUndo: true}}
		if image != "" {
			local, err := inspectImage(ctx, r.Docker, image)
			if err == nil && local == nil { // it has been removed since
				local, err = pull(ctx, r.Docker, image, r.Pull)
			}
			if err != nil {
				return err
			}
			if local == nil {
				return fmt.Errorf("image %s was removed meanwhile", image)
			}
			c.imageID = local.ID
		}
		all = append(all, c)
	}
	if !slices.ContainsFunc(all, func(c change) bool { return c.service == service }) {
		return hint.New(fmt.Errorf("the project %s has no service %q any more", r.stack.Name, service), "one of a profile needs --profile")
	}
	var names []string
	for _, c := range all {
		if r.MayUndo != nil && !r.MayUndo(c.service, c.deployment.Pinned) {
			return errNotAllowed
		}
		names = append(names, c.service)
	}
	if err := r.checkOneShots(names); err != nil {
		return err
	}
	if err := r.execute(ctx, all); err != nil {
		return err
	}
	for _, c := range all {
		if d := r.pins.find(c.service, begin); d != nil {
			d.Result = Undone
		}
	}
	return r.finish(ctx, all, Rollback)
}

// restore pins what was pinned before, after the rollout has failed. Services that run the new image all the same, because two of their containers cannot run at a time, are
// rolled out once more.
func (r *run) restore(ctx context.Context, all []change, cause error) error {
	var changed []string
	for _, c := range all {
		r.pins.pin(c.service, c.wasPinned)
		last := r.pins.last(c.service)
		last.Result, last.Error = Failed, firstLine(cause)
		containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, c.service)
		if err != nil { // the pins are put back all the same
			cause = errors.Join(cause, fmt.Errorf("%s may run the new image: %w", c.service, err))
		}
		if len(r.waiting(c.service)) == 0 && slices.ContainsFunc(containers, func(o compose.Container) bool { return o.Image == c.imageID }) && c.deployment.Previous != c.deployment.Pinned {
			changed = append(changed, c.service)
			if c.wasPinned == "" && c.deployment.Previous != "" { // the other files may name an image that is another one by now
				r.pins.pin(c.service, c.deployment.Previous)
			}
		}
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		return errors.Join(cause, fmt.Errorf("the images stay in %s: %w", PinsFile, err))
	}
	for _, c := range all {
		r.mark(ctx, c.service, Failed, c.deployment)
	}
	if len(changed) == 0 {
		return cause
	}
	r.print("%s: going back, because it runs the new image", strings.Join(changed, ", "))
	if err := r.NewRollout(r.project, changed).Run(ctx); err != nil {
		return errors.Join(cause, fmt.Errorf("go back: %w", err))
	}
	return fmt.Errorf("%w; the version before runs again", cause)
}
