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
	"github.com/theworklabs/edge/internal/rollout"
)

// change is a deployment of one service that is going to be executed.
type change struct {
	service    string
	deployment Deployment
	wasPinned  PinnedService // what was in the file of the pins before
	imageID    string        // of the new image
	isNew      bool          // the service runs another image
	before     []string      // the IDs of the service's containers, sorted
	dropped    []Deployment  // what the file of the pins no longer keeps because of this one
}

// resolve gets the images, and finds out what runs. It changes nothing that runs.
func (r *run) resolve(ctx context.Context) (all []change, err error) {
	if err := r.checkOneShots(r.services()); err != nil {
		return nil, err
	}
	for _, i := range r.Images {
		if r.stack.Services[i.Service] == nil {
			return nil, hint.New(fmt.Errorf("the project %s has no service %q", r.stack.Name, i.Service), "there are: "+strings.Join(r.stack.ServiceNames(), ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.pins.Deployments)) { // also of a migration, which a rollout of other services would run
		if err := r.endInterrupted(ctx, name); err != nil {
			return nil, err
		}
	}
	for _, i := range r.Images {
		r.print("%s: getting %s", i.Service, i.Image)
		image, kept, err := r.pull(ctx, i.Image)
		if err != nil {
			return nil, err
		}
		c := change{service: i.Service, wasPinned: r.pins.Services[i.Service], imageID: image.ID}
		c.deployment = Deployment{Image: i.Image, Kept: kept, By: literal(r.By), Result: Started}
		if c.deployment.Pinned, err = pinImage(ctx, r.Docker, i.Image, image); err != nil {
			return nil, err
		}
		var running string
		if c.deployment.Previous, running, err = r.currentImage(ctx, i.Service); err != nil {
			return nil, err
		}
		c.isNew = running != image.ID
		if c.before, err = r.containerIDs(ctx, i.Service); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (r *run) services() (names []string) {
	for _, i := range r.Images {
		names = append(names, i.Service)
	}
	return names
}

// checkOneShots returns an error if a service has to complete before others, none of which is deployed with it.
func (r *run) checkOneShots(services []string) error {
	for _, name := range services {
		waiting := r.waiting(name)
		if len(waiting) > 0 && !slices.ContainsFunc(waiting, func(other string) bool { return slices.Contains(services, other) }) {
			return hint.New(fmt.Errorf("%s runs before %s, which is not deployed", name, strings.Join(waiting, ", ")), "deploy them together: edge deploy "+name+" IMAGE "+waiting[0]+" IMAGE")
		}
	}
	return nil
}

// needsForce reports whether a migration would not run, because the services that wait for it are up to date.
func (r *run) needsForce(all []change) bool {
	return slices.ContainsFunc(all, func(c change) bool { return c.isNew && r.isOneShot(c.service) }) &&
		!slices.ContainsFunc(all, func(c change) bool { return c.isNew && !r.isOneShot(c.service) })
}

// currentImage returns a name for ever of the image that a service runs, and its ID. If nothing runs, they are of what is pinned, or "". An image whose deployment
// was interrupted is no good one: then the name is that of the image before it.
func (r *run) currentImage(ctx context.Context, service string) (name, id string, err error) {
	pinned := r.pins.Services[service].Image
	containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
	if err != nil || len(containers) == 0 {
		return pinned, "", err
	}
	c := containers[len(containers)-1]
	if pinned != "" {
		image, err := inspectImage(ctx, r.Docker, pinned)
		if err != nil || image != nil && image.ID == c.Image {
			return pinned, c.Image, err
		}
	}
	if last := r.pins.last(service); r.interrupted[service] && last.Previous != "" && last.Pinned != "" {
		if failed, err := inspectImage(ctx, r.Docker, last.Pinned); err != nil || failed != nil && failed.ID == c.Image {
			return last.Previous, c.Image, err
		}
	}
	image, err := inspectImage(ctx, r.Docker, c.Image)
	if err != nil || image == nil { // it has been removed
		return pinned, c.Image, err
	}
	name = c.Config.Image
	if CheckImage(name) != nil { // such as an ID
		name = r.stack.ImageName(r.stack.Services[service])
	}
	repository, tag, digest := splitImage(name)
	if digest != "" && !slices.ContainsFunc(image.RepoDigests, func(known string) bool { return strings.HasSuffix(known, digest) }) {
		name = repository + tag
	}
	name, err = pinImage(ctx, r.Docker, name, image)
	return name, c.Image, err
}

// wasReplaced reports whether this deployment has changed the containers of a service, one of which has the new image.
func (r *run) wasReplaced(ctx context.Context, c change) (bool, error) {
	containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, c.service)
	runs := slices.ContainsFunc(containers, func(o compose.Container) bool { return o.Image == c.imageID })
	return runs && !slices.Equal(idsOf(containers), c.before), err
}

func (r *run) containerIDs(ctx context.Context, service string) (ids []string, err error) {
	containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
	return idsOf(containers), err
}

func idsOf(containers []compose.Container) (ids []string) {
	for _, c := range containers {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

// endInterrupted ends the last deployment of a service if it was killed. It has succeeded if all containers have its image, and are ready; otherwise it counts as failed, and the image before it is
// pinned. A migration without a container may have run: an older one must not run on its schema.
func (r *run) endInterrupted(ctx context.Context, service string) error {
	last := r.pins.last(service)
	if last == nil || last.Result != Started || r.stack.Services[service] == nil {
		return nil
	}
	if last.Error != "" { // it had failed, and was being rolled back: the image before it is pinned
		last.Result = Failed
		r.interrupted[service] = true
		return nil
	}
	containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
	if err != nil {
		return err
	}
	var image *localImage
	if last.Pinned != "" {
		if image, err = inspectImage(ctx, r.Docker, last.Pinned); err != nil {
			return err
		}
	}
	isOther := func(c compose.Container) bool { return image == nil || c.Image != image.ID }
	hasSucceeded := !slices.ContainsFunc(containers, isOther)
	if hasSucceeded && !r.isOneShot(service) {
		err := r.NewRollout(r.presentProject(), RolloutOptions{Services: []string{service}}).CheckReady(ctx)
		_, isUnready := errors.AsType[*rollout.UnreadyError](err)
		if err != nil && !isUnready {
			return fmt.Errorf("find out how an interrupted deployment has ended: %w", err)
		}
		hasSucceeded = !isUnready && len(containers) > 0
	}
	switch {
	case hasSucceeded && last.IsUndo:
		last.Result = Rollback
	case hasSucceeded:
		last.Result = Deployed
	default:
		last.Result, last.Error = Failed, "interrupted"
		r.interrupted[service] = !last.IsUndo
		if !last.IsUndo { // otherwise the image before it is the bad one
			r.pins.pin(service, last.Previous, false)
		}
	}
	return nil
}

// oneShotImages returns the images of the services that have to complete before those that are deployed, such as migrations: by the containers that have run or, if they have been removed,
// by the compose files.
func (r *run) oneShotImages(ctx context.Context) (map[string]string, error) {
	images := make(map[string]string)
	var add func(service string) error
	add = func(service string) error {
		for _, name := range slices.Sorted(maps.Keys(r.stack.Services[service].DependsOn)) {
			s := r.stack.Services[name]
			if _, isKnown := images[name]; isKnown || s == nil || !r.stack.Services[service].DependsOn[name].IsOneShot() {
				continue
			}
			containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, name)
			if err != nil {
				return err
			}
			images[name] = ""
			for _, c := range containers {
				images[name] = c.Image
			}
			if len(containers) == 0 {
				image, err := inspectImage(ctx, r.Docker, r.stack.ImageName(s))
				if err != nil {
					return err
				}
				if image != nil {
					images[name] = image.ID
				}
			}
			if err := add(name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range r.services() {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// MigratesLabel is a label of services that change their data for a new version when they start, instead of a migration of its own: "true".
const MigratesLabel = "edge.migrates"

// migratedThemselves returns the services that may have changed their data for the new version when they started.
func (r *run) migratedThemselves(all []change) (names []string) {
	for _, c := range all {
		s := r.stack.Services[c.service]
		if s != nil && s.Labels[MigratesLabel] == "true" && c.deployment.Previous != c.deployment.Pinned {
			names = append(names, c.service)
		}
	}
	return names
}

// oneShotsThatRan returns the one-shot services that have run with another image than before the deployment.
func (r *run) oneShotsThatRan(ctx context.Context) (names []string, err error) {
	images, err := r.oneShotImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out whether a migration has run: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		if images[name] != r.oneShotsBefore[name] {
			names = append(names, name)
		}
	}
	return names, nil
}
