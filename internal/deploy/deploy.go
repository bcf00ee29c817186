// Package deploy puts images into a compose file of its own, rolls them out, and goes back to the last good ones.
//
// It runs in an operator's shell, on top of package rollout and the docker command, and needs no rights beyond theirs.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
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
	// MayUndo limits an undoing: it reports whether a service may have an image again, which is "" for that of the compose file. nil allows all.
	MayUndo func(service, image string) bool
	// WatchTime is how long the services' errors are watched after the rollout: see [exceeds]. With more errors than before, the deployment is undone, unless a migration
	// has run. 0 watches nothing.
	WatchTime time.Duration
	// NewRollout returns the rollout of services of a project.
	NewRollout func(p compose.Project, services []string) Rollout
	// Out gets a line for each step.
	Out io.Writer
}

// ServiceImage is a service of the project, and the image that it is to run.
type ServiceImage struct{ Service, Image string }

// Rollout replaces the containers of services, and asks the edge about them. It is a [rollout.Rollout].
type Rollout interface {
	Run(ctx context.Context) error
	Traffic(ctx context.Context) ([]traffic.Point, error)
	RunInEdge(ctx context.Context, args ...string) error
}

var (
	// ErrUndone says that the new version had more errors than the one before, which runs again.
	ErrUndone = errors.New("the new version has more errors than the one before; it was undone")
	// ErrNotUndone says that the new version has more errors, and runs, because a migration has run with it.
	ErrNotUndone = errors.New("the new version has more errors than the one before; it was not undone, because a migration has run")
)

// run is a deployment or an undoing that is under way.
type run struct {
	*Deploy
	project compose.Project // with its directory, and the file of the pins
	stack   *compose.Stack
	files   *composeFiles
	pins    *Pins
}

// Run deploys the images. If the rollout of one fails, the services have the images that they had before. An error has a hint (see package hint) if there is a next step to
// take.
func (d *Deploy) Run(ctx context.Context) error {
	for _, i := range d.Images {
		if err := CheckImage(i.Image); err != nil {
			return err
		}
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
	before := r.traffic(ctx)
	images, err := r.oneShotImages(ctx)
	if err != nil {
		return err
	}
	if err := r.execute(ctx, all); err != nil {
		return err
	}
	if err := r.finish(ctx, all, Deployed); err != nil {
		return err
	}
	if d.WatchTime <= 0 {
		return nil
	}
	return r.watch(ctx, all, before, images)
}

// open finds the project's files, and locks it.
func (d *Deploy) open(ctx context.Context) (*run, func(), error) {
	r := &run{Deploy: d, project: d.Project}
	p := &r.project
	if p.Name != "" && p.Directory == "" && len(p.Files) == 0 {
		if running, ok := compose.RunningProject(ctx, d.Docker, *p); ok {
			*p = running
		}
	}
	if p.Directory == "" && len(p.Files) > 0 {
		p.Directory = filepath.Dir(p.Files[0])
	}
	var err error
	if p.Directory, err = filepath.Abs(p.Directory); err != nil {
		return nil, nil, err
	}
	p.Files = slices.Clone(p.Files)
	for i, name := range p.Files { // flags are relative to this process's directory
		if p.Files[i], err = filepath.Abs(name); err != nil {
			return nil, nil, err
		}
	}
	if r.files, err = findComposeFiles(*p); err != nil {
		return nil, nil, hint.New(err, "run it where compose.yaml is, or name the file with --file")
	}
	unlock, err := lock(p.Directory)
	if err != nil {
		return nil, nil, err
	}
	p.Files = nil
	for _, name := range r.files.addPins() {
		p.Files = append(p.Files, absoluteIn(p.Directory, name))
	}
	if r.pins, err = ReadPins(p.Directory); err == nil {
		err = r.readStack(ctx)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return r, unlock, nil
}

// readStack reads the compose files with the pins.
func (r *run) readStack(ctx context.Context) error {
	text, _, err := r.Docker.Run(ctx, r.presentProject().Args("config", "--format", "json")...)
	if err != nil {
		return hint.New(err, "run it where compose.yaml is, or name the file with --file")
	}
	r.stack, err = compose.ParseStack(text)
	return err
}

// presentProject returns the project without the file of the pins, as long as that does not exist.
func (r *run) presentProject() compose.Project {
	project := r.project
	if _, err := os.Stat(filepath.Join(project.Directory, PinsFile)); err != nil {
		project.Files = slices.DeleteFunc(slices.Clone(project.Files), isPinsFile)
	}
	return project
}

// change is a deployment of one service that is going to be executed.
type change struct {
	service    string
	deployment Deployment
	wasPinned  string // the image in the file of the pins before; "" if there was none
	imageID    string // of the new image
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
		r.pins.settle(i.Service)
		r.print("%s: getting %s", i.Service, i.Image)
		image, err := pull(ctx, r.Docker, i.Image, r.Pull)
		if err != nil {
			return nil, err
		}
		if image == nil {
			return nil, fmt.Errorf("image %s was removed meanwhile", i.Image)
		}
		c := change{service: i.Service, wasPinned: r.pins.Services[i.Service].Image, imageID: image.ID}
		c.deployment = Deployment{Image: i.Image, By: r.By, Result: Started}
		if c.deployment.Pinned, err = pinImage(ctx, r.Docker, i.Image, image); err != nil {
			return nil, err
		}
		if c.deployment.Previous, err = r.currentImage(ctx, i.Service); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// currentImage returns what is pinned or, if the service is not, a name for ever of what runs. It is "" if nothing runs.
func (r *run) currentImage(ctx context.Context, service string) (string, error) {
	if pinned := r.pins.Services[service].Image; pinned != "" {
		return pinned, nil
	}
	containers, err := compose.Containers(ctx, r.Docker, r.stack.Name, service)
	if err != nil || len(containers) == 0 {
		return "", err
	}
	c := containers[len(containers)-1]
	image, err := inspectImage(ctx, r.Docker, c.Image)
	if err != nil || image == nil {
		return "", err // the image has been removed
	}
	if CheckImage(c.Config.Image) != nil { // such as an ID
		return "", nil
	}
	return pinImage(ctx, r.Docker, c.Config.Image, image)
}

// execute pins the images, and rolls them out. If that fails, it puts back what was.
func (r *run) execute(ctx context.Context, all []change) error {
	now := time.Now().UTC()
	var services []string
	for i := range all {
		all[i].deployment.Time = now
		r.pins.begin(all[i].service, all[i].deployment)
		if len(r.waiting(all[i].service)) == 0 {
			services = append(services, all[i].service)
		}
	}
	if len(services) == 0 { // a rollout of none would be one of all
		return errors.New("nothing to roll out")
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		return fmt.Errorf("pin the images: %w", err)
	}
	note, err := r.files.persist()
	if err != nil {
		note = "warning: " + err.Error()
	}
	if note != "" {
		r.print("%s", note)
	}
	if err := r.NewRollout(r.project, services).Run(ctx); err != nil { // which runs the services that they wait for
		return r.restore(context.WithoutCancel(ctx), all, err)
	}
	return nil
}

// waiting returns the services that start only after another one, such as a migration, has completed.
func (r *run) waiting(other string) (names []string) {
	for _, name := range r.stack.ServiceNames() {
		if r.stack.Services[name].DependsOn[other].IsOneShot() {
			names = append(names, name)
		}
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

// finish notes that a deployment has succeeded.
func (r *run) finish(ctx context.Context, all []change, result Result) error {
	for _, c := range all {
		r.pins.last(c.service).Result = result
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		return fmt.Errorf("note the result: %w", err)
	}
	for _, c := range all {
		r.mark(ctx, c.service, result, c.deployment)
		r.print("%s: %s %s", c.service, result, c.deployment.Pinned)
	}
	return nil
}

func (r *run) print(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
