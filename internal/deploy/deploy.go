// Package deploy puts images into a compose file of its own, rolls them out, and rolls back to the last good ones.
//
// It runs in an operator's shell, on top of package rollout and the docker command, and needs no rights beyond theirs.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/rollout"
	"github.com/theworklabs/edge/internal/traffic"
)

// Deploy says which images to deploy, and how. A Deploy runs once.
type Deploy struct {
	Docker  compose.Docker
	Project compose.Project
	// Images are deployed together: the services are rolled out in this order, and undone together.
	Images []ServiceImage
	// Pull is never, or empty: images are pulled then, unless only this machine has them.
	Pull string
	// By is who asked for it.
	By string
	// MayUndo limits an undo: it reports whether a service may have an image again, which is "" for that of the compose file. nil allows all.
	MayUndo func(service, image string) bool
	// WatchTime is how long the error rates of the services' routes are watched after the rollout: see [figures.exceeds]. If one has risen, the deployment is undone, unless
	// a migration has run. 0 watches nothing; otherwise it is at least [MinWatchTime].
	WatchTime time.Duration
	// NewRollout returns a rollout of services of a project.
	NewRollout func(p compose.Project, options RolloutOptions) Rollout
	// Out gets a line for each step.
	Out io.Writer
}

// MinWatchTime is the shortest time in which a rise of the error rate can be seen.
const MinWatchTime = 3 * traffic.HistoryInterval

// ServiceImage is a service of the project, and the image that it is to run.
type ServiceImage struct{ Service, Image string }

// RolloutOptions are the parts of a rollout that a deployment decides.
type RolloutOptions struct {
	Services []string
	// Force replaces containers that are up to date, too.
	Force bool
	// SkipOneShots does not run the services again that have to complete first, such as migrations.
	SkipOneShots bool
	// IsLocked says that the services are locked by [Rollout.Lock].
	IsLocked bool
}

// Rollout replaces the containers of services, and asks the edge about them. It is a [rollout.Rollout].
type Rollout interface {
	// Lock keeps other rollouts of the services from running, until unlock is called.
	Lock(ctx context.Context) (unlock func(), err error)
	Run(ctx context.Context) error
	// CheckReady returns a [rollout.UnreadyError] if a container of the services is not ready now.
	CheckReady(ctx context.Context) error
	// Traffic returns what the edge has counted on each route to the services.
	Traffic(ctx context.Context) (map[string][]traffic.Point, error)
	// RunInEdge runs a command of the edge in its container.
	RunInEdge(ctx context.Context, args ...string) error
}

var (
	// ErrUndone says that the new version had more errors than the one before, which runs again.
	ErrUndone = errors.New("the new version has more errors than the one before; it was undone")
	// ErrNotUndone says that the new version runs although it has more errors than the one before, or does not become ready.
	ErrNotUndone = errors.New("the new version runs, and was not undone")
)

// run is a deployment or an undo that is under way.
type run struct {
	*Deploy
	project compose.Project // with its directory, and the file of the pins
	stack   *compose.Stack
	files   *composeFiles
	pins    *Pins
	// oneShotsBefore are the images of the one-shot services before the deployment.
	oneShotsBefore map[string]string
	// interrupted are the services whose last deployment was interrupted, and is no good one.
	interrupted map[string]bool
	// ran are the one-shot services that have run with another image in it, and ranErr why that is not known.
	ran    []string
	ranErr error
}

// Run deploys the images. If the rollout of one fails, the services have the images that they had before, unless a migration has run and the version before is gone. An error
// has a hint (see package hint) if there is a next step to take.
func (d *Deploy) Run(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	r, unlock, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := r.resolve(ctx)
	if err != nil {
		return err
	}
	if r.oneShotsBefore, err = r.oneShotImages(ctx); err != nil {
		return err
	}
	before, isWatched := r.readBaseline(ctx)
	if err := r.execute(ctx, all, RolloutOptions{Force: r.needsForce(all)}); err != nil {
		return err
	}
	r.finish(ctx, all, Deployed)
	if !isWatched {
		return nil
	}
	r.ran, r.ranErr = r.oneShotsThatRan(ctx) // their containers may be removed while the errors are watched
	return r.watch(ctx, all, before)
}

// check returns an error if what is asked for cannot be meant.
func (d *Deploy) check() error {
	if d.WatchTime != 0 && d.WatchTime < MinWatchTime {
		return fmt.Errorf("the errors can't be judged in less than %v", MinWatchTime)
	}
	names := make(map[string]bool)
	for _, i := range d.Images {
		if err := CheckImage(i.Image); err != nil {
			return err
		}
		if names[i.Service] {
			return fmt.Errorf("%s is there twice", i.Service)
		}
		names[i.Service] = true
	}
	return nil
}

// execute pins the images, and rolls them out. If that fails, it rolls back.
func (r *run) execute(ctx context.Context, all []change, options RolloutOptions) error {
	for _, c := range all {
		if !r.isOneShot(c.service) { // a rollout runs those that its services wait for
			options.Services = append(options.Services, c.service)
		}
	}
	if len(options.Services) == 0 { // a rollout of none would be one of all
		return errors.New("nothing to roll out")
	}
	unlock, err := r.NewRollout(r.presentProject(), options).Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	options.IsLocked = true
	now := time.Now().UTC()
	for i := range all {
		all[i].deployment.Time = now
		all[i].dropped = r.pins.begin(all[i].service, all[i].deployment, r.stack.Services[all[i].service].HasBuild())
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		return fmt.Errorf("pin the images: %w", err)
	}
	note, err := r.files.persist()
	if err != nil {
		return r.rollBack(ctx, all, err)
	}
	if note != "" {
		r.print("%s", note)
	}
	if err := r.NewRollout(r.project, options).Run(ctx); err != nil {
		return r.rollBack(context.WithoutCancel(ctx), all, err)
	}
	return nil
}

// rollBack pins what was pinned before, after the rollout has failed. Services that run the new image all the same, because two of their containers cannot run at a time, are
// rolled out once more; but not after a migration, since the version before may not work with the new schema.
func (r *run) rollBack(ctx context.Context, all []change, cause error) error {
	ran, err := r.oneShotsThatRan(ctx)
	if err != nil {
		cause = errors.Join(cause, err)
	}
	unready, _ := errors.AsType[*rollout.UnreadyError](cause)
	began := slices.DeleteFunc(slices.Clone(all), func(c change) bool { // whose new image has not been started
		wasReplaced, err := r.wasReplaced(ctx, c)
		return err == nil && !wasReplaced && (unready == nil || unready.Service != c.service)
	})
	mayHaveMigrated := err != nil || len(ran) > 0 || len(r.migratedThemselves(began)) > 0
	why := "a migration has run, or may have"
	var changed, kept []string
	for _, c := range all {
		last := r.pins.last(c.service)
		last.Result, last.Error = Failed, literal(firstLine(cause))
		canGoBack := c.deployment.Previous != c.deployment.Pinned && c.deployment.Previous != ""
		isDown, err := r.wasReplaced(ctx, c)
		isDown = isDown || unready != nil && unready.Service == c.service
		switch {
		case slices.Contains(ran, c.service):
			last.Result, last.Error = Deployed, "" // it is done: its image stays, so that no older one runs on the new schema
			continue
		case err != nil: // the pins are put back all the same
			cause = errors.Join(cause, fmt.Errorf("%s may run the new image: %w", c.service, err))
		case r.isOneShot(c.service):
		case isDown && canGoBack && !mayHaveMigrated:
			changed = append(changed, c.service)
			last.Result = Started                           // until it is rolled back: if this process is killed before that, the image is no good one
			if c.wasPinned.Image != c.deployment.Previous { // what ran, whatever the files name by now
				r.pins.pin(c.service, c.deployment.Previous, false)
				continue
			}
		case isDown:
			kept = append(kept, c.service)
			if canGoBack { // the migration keeps it from that
				continue
			}
			switch {
			case mayHaveMigrated:
			case c.deployment.Previous == "":
				why = "nothing ran before"
			default:
				why = "the same image ran before"
			}
		}
		r.pins.put(c.service, c.wasPinned)
	}
	err = r.pins.write(r.project.Directory)
	switch {
	case err != nil:
		kept = append(kept, changed...)
		cause = errors.Join(cause, fmt.Errorf("the images stay in %s: %w", PinsFile, err))
	case len(changed) > 0:
		r.print("%s: rolling back, because it runs the new image", strings.Join(changed, ", "))
		if err := r.NewRollout(r.project, RolloutOptions{Services: changed, SkipOneShots: true, IsLocked: true}).Run(ctx); err != nil {
			kept = append(kept, changed...)
			cause = errors.Join(cause, fmt.Errorf("roll back: %w", err))
		}
	case len(kept) > 0:
		cause = fmt.Errorf("%w; %s", cause, why)
	}
	r.notifyOfFailure(ctx, all, kept)
	switch {
	case len(kept) > 0 && r.pins.undoable(kept[0]) == nil:
		return hint.New(fmt.Errorf("%w: %w", ErrNotUndone, cause), "deploy a corrected version")
	case len(kept) > 0:
		return hint.New(fmt.Errorf("%w: %w", ErrNotUndone, cause), "deploy a corrected version; if the version before works with the data as they are now: edge deploy --undo "+kept[0])
	case len(changed) > 0:
		return fmt.Errorf("%w; the version before runs again", cause)
	}
	return cause
}

// notifyOfFailure stores and reports how a failed deployment has ended: bad for the services that run the new image, and have not been rolled back.
func (r *run) notifyOfFailure(ctx context.Context, all []change, kept []string) {
	for _, c := range all {
		r.untag(ctx, c.dropped)
		if r.isOneShot(c.service) {
			continue
		}
		last := r.pins.last(c.service)
		if last.Result = Failed; slices.Contains(kept, c.service) {
			last.Result = Bad
		}
		r.notify(ctx, c.service, last.Result, c.deployment)
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		r.print("warning: %s does not have the result: %v", PinsFile, err)
	}
}

// finish stores that a deployment has succeeded, and notifies the edge. The new version serves by then, so that an error is a warning.
func (r *run) finish(ctx context.Context, all []change, result Result) {
	for _, c := range all {
		r.pins.last(c.service).Result = result
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		r.print("warning: %s does not have the result: %v", PinsFile, err)
	}
	for _, c := range all {
		r.notify(ctx, c.service, result, c.deployment)
		r.untag(ctx, c.dropped)
		r.print("%s: %s %s", c.service, result, c.deployment.Pinned)
	}
}

func (r *run) print(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
