package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/hint"
)

// Undo puts the images back that ran before the last deployment of a service, and of those that were deployed with it. A migration is not undone, and does not run again: its data
// are those of its image. d.Images is not read.
func (d *Deploy) Undo(ctx context.Context, service string) error {
	r, unlock, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if waiting := r.waiting(service); len(waiting) > 0 {
		return hint.New(fmt.Errorf("%s runs before %s, and cannot be undone itself", service, strings.Join(waiting, ", ")), "edge deploy --undo "+waiting[0])
	}
	last := r.pins.undoable(service)
	if last == nil {
		return hint.New(fmt.Errorf("%s has no deployment to undo", service), "edge deploy --list shows the deployments")
	}
	begin := last.Time
	for _, name := range slices.Sorted(maps.Keys(r.pins.Deployments)) { // one that was killed may have pinned a migration that has not run
		if d := r.pins.find(name, begin); d != nil && d == r.pins.last(name) && r.isOneShot(name) {
			if err := r.endInterrupted(ctx, name); err != nil {
				return err
			}
		}
	}
	all, err := r.changesBack(ctx, begin)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(c change) bool { return c.service == service }) {
		return hint.New(fmt.Errorf("the project %s has no service %q any more", r.stack.Name, service), "one of a profile needs --profile")
	}
	for _, c := range all {
		if d.MayUndo != nil && !d.MayUndo(c.service, c.deployment.Pinned) {
			return errNotAllowed
		}
	}
	return r.undo(ctx, begin, all)
}

// changesBack returns the changes that undo the deployment, of one or several services, that began at a time. Services whose image it has not changed are left out.
func (r *run) changesBack(ctx context.Context, begin time.Time) (all []change, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.pins.Deployments)) {
		d := r.pins.find(name, begin)
		if d == nil || !d.isUndoable() || r.stack.Services[name] == nil || r.isOneShot(name) {
			continue
		}
		c, err := r.changeBack(ctx, name, d)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// undo executes the changes that undo the deployment that began at a time.
func (r *run) undo(ctx context.Context, begin time.Time, all []change) (err error) {
	r.Images = nil
	for _, c := range all {
		r.Images = append(r.Images, ServiceImage{c.service, c.deployment.Pinned})
	}
	if r.oneShotsBefore, err = r.oneShotImages(ctx); err != nil {
		return err
	}
	if err := r.execute(ctx, all, RolloutOptions{SkipOneShots: true}); err != nil {
		return err
	}
	for _, c := range all {
		if d := r.pins.find(c.service, begin); d != nil {
			d.Result = Undone
		}
	}
	r.finish(ctx, all, Rollback)
	return nil
}

// changeBack returns the change that undoes a deployment. The image is pulled if it has been removed since.
func (r *run) changeBack(ctx context.Context, service string, d *Deployment) (change, error) {
	c := change{service: service, wasPinned: r.pins.Services[service]}
	c.deployment = Deployment{Image: d.Previous, Pinned: d.Previous, Previous: d.Pinned, By: literal(r.By), Result: Started, IsUndo: true}
	var err error
	if c.before, err = r.containerIDs(ctx, service); err != nil || d.Previous == "" {
		return c, err
	}
	local, err := inspectImage(ctx, r.Docker, d.Previous)
	if err == nil && local == nil {
		local, _, err = r.pull(ctx, d.Previous)
	}
	if err == nil {
		err = checkOwnTag(d.Previous, local)
	}
	if err != nil {
		return change{}, err
	}
	c.imageID = local.ID
	return c, nil
}
