package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// open finds the project's files, and locks it.
func (d *Deploy) open(ctx context.Context) (*run, func(), error) {
	r, err := d.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := lock(r.project.Directory)
	if err != nil {
		return nil, nil, err
	}
	if r.pins, err = ReadPins(r.project.Directory); err == nil {
		err = r.readStack(ctx)
	}
	if err == nil {
		err = r.pins.claim(r.stack.Name)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	if name := r.files.unreadOverride(); name != "" {
		r.print("warning: Compose does not read %s, because %s does not name it", name, filesVariable)
	}
	return r, unlock, nil
}

// Deployments returns the last deployments of each service, the oldest first.
func (d *Deploy) Deployments(ctx context.Context) (map[string][]Deployment, error) {
	r, err := d.find(ctx)
	if err != nil {
		return nil, err
	}
	pins, err := ReadPins(r.project.Directory)
	if err != nil {
		return nil, err
	}
	return pins.Deployments, nil
}

// find finds the project's files.
func (d *Deploy) find(ctx context.Context) (*run, error) {
	r := &run{Deploy: d, project: d.Project, interrupted: make(map[string]bool)}
	p := &r.project
	if p.Name != "" && p.Directory == "" && len(p.Files) == 0 {
		if running, ok := compose.RunningProject(ctx, d.Docker, *p); ok {
			*p = running
		}
	}
	var err error
	if r.files, err = findComposeFiles(ctx, d.Docker, *p); err != nil {
		return nil, err
	}
	if len(p.EnvFiles) == 0 {
		p.EnvFiles = r.files.envFiles()
	}
	p.Directory, p.Files = r.files.directory, r.files.absolute()
	return r, nil
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

// isOneShot reports whether a service has to complete before others start, such as a migration.
func (r *run) isOneShot(service string) bool { return len(r.waiting(service)) > 0 }

// waiting returns the services that start only after another one, such as a migration, has completed.
func (r *run) waiting(other string) (names []string) {
	for _, name := range r.stack.ServiceNames() {
		if r.stack.Services[name].DependsOn[other].IsOneShot() {
			names = append(names, name)
		}
	}
	return names
}

// Unpin has services run the images of the other compose files again, from their next start on. It rolls nothing out.
func (d *Deploy) Unpin(ctx context.Context, services []string) error {
	r, unlock, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range services {
		if r.pins.Services[name].Image == "" {
			return hint.New(fmt.Errorf("%s does not name %q", PinsFile, name), "edge deploy --list shows the deployments")
		}
		r.pins.put(name, PinnedService{})
	}
	if err := r.pins.write(r.project.Directory); err != nil {
		return err
	}
	for _, name := range services {
		r.print("%s: the image of the compose file counts again, from the next start on: edge rollout %s", name, name)
	}
	return nil
}
