package imagecleanup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// Cleanup deletes what nobody needs of the registry of a Compose project: images, and the layers that no image has any more. The edge holds the requests meanwhile.
type Cleanup struct {
	Docker  compose.StreamingDocker
	Project compose.Project
	Edge    string   // the service that is the edge; of another project: PROJECT/SERVICE
	Service string   // the registry's
	Flags   []string // of `edge registry delete`, for what stays
	InUse   []string // digests of images that other machines use
	DryRun  bool
	Out     io.Writer
}

// stopTimeout is how long requests in flight may take when the registry stops. It is above the drain time of compose.registry.yaml.
const stopTimeout = 70 * time.Second

// startTimeout is how long the registry may take to start.
const startTimeout = time.Minute

// deleteTimeout is how long the registry may take to list and delete images.
const deleteTimeout = time.Hour

// undoTimeout bounds each step that ends the cleanup, whatever has failed before.
const undoTimeout = 30 * time.Second

// collectorSuffix is what the name of the container that removes layers has after the project's. It has a name so that it can be ended.
const collectorSuffix = "-registry-cleanup"

func (c *Cleanup) readStack(ctx context.Context, project compose.Project) (*compose.Stack, error) {
	config, _, err := c.Docker.Run(ctx, project.Args("config", "--format", "json")...)
	if err != nil {
		return nil, err
	}
	return compose.ParseStack(config)
}

// Run deletes images and layers. Whatever fails, the registry runs afterwards, and its requests are no longer held.
func (c *Cleanup) Run(ctx context.Context) (err error) {
	stack, err := c.readStack(ctx, c.Project)
	if err != nil {
		return err
	}
	edges, err := c.runningContainers(ctx, stack.Name, c.Edge)
	if err != nil {
		return err
	}
	registries, err := c.runningContainers(ctx, stack.Name, c.Service)
	if err != nil {
		return err
	}
	if len(registries) > 1 {
		return hint.New(fmt.Errorf("the service %s has %d containers, of which each could store an upload while another one removes layers", c.Service, len(registries)),
			"docker compose up -d --scale "+c.Service+"=1")
	}
	edge, registry := edges[0].ID, registries[0].ID
	if c.DryRun {
		return c.deleteImages(ctx, edge)
	}
	unlock, err := compose.LockServices(ctx, c.Docker, stack.Name, []string{c.Service})
	if err != nil {
		return err
	}
	defer unlock()
	closed, err := c.closedFor(ctx, edge)
	if err != nil {
		return err
	}
	if closed == message {
		fmt.Fprintf(c.Out, "a cleanup before was killed, and has left %s in maintenance\n", c.Service)
	} else if closed != "" {
		return hint.New(fmt.Errorf("%s is in maintenance already, which the cleanup would end", c.Service), "docker compose exec edge edge maintenance off "+c.Service)
	}
	collector := stack.Name + collectorSuffix
	left, err := c.hasContainer(ctx, collector)
	if err != nil {
		return err
	}
	if left {
		return hint.New(fmt.Errorf("the container %s of a cleanup that was killed is still there, and may be removing layers", collector), "docker rm --force "+collector)
	}
	defer func() { err = errors.Join(err, c.end(context.WithoutCancel(ctx), edge)) }()
	// Held from before the first image is deleted: a tag that is pushed meanwhile could be one of an image that is about to be deleted.
	if _, _, err := c.Docker.Run(ctx, "exec", edge, "edge", "maintenance", "on", c.Service, "--hold", "--message", message); err != nil {
		return err
	}
	if err := c.deleteImages(ctx, edge); err != nil {
		return err
	}
	return c.collectGarbage(ctx, registry, collector)
}

// runningContainers returns the IDs of the containers of a service of the project, or of another one: PROJECT/SERVICE. There is at least one.
func (c *Cleanup) runningContainers(ctx context.Context, project, service string) (running []compose.Container, err error) {
	if other, name, ok := strings.Cut(service, "/"); ok {
		project, service = other, name
	}
	all, err := compose.Containers(ctx, c.Docker, project, service)
	if err != nil {
		return nil, err
	}
	for _, container := range all {
		if container.State.Status == "running" {
			running = append(running, container)
		}
	}
	if len(running) == 0 {
		return nil, hint.New(fmt.Errorf("the service %s of the project %s does not run", service, project),
			"docker compose up -d; services of other names: --edge, --service")
	}
	return running, nil
}

// message is the maintenance's, by which a cleanup knows the one that another has left when it was killed.
const message = "The registry removes old images."

// closedFor returns the message of the registry's maintenance, or why it is closed if that has none; "" if it is open.
func (c *Cleanup) closedFor(ctx context.Context, edge string) (string, error) {
	out, _, err := c.Docker.Run(ctx, "exec", edge, "edge", "maintenance", "--json")
	if err != nil {
		return "", err
	}
	var answer struct {
		Services []struct{ Service, Message string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return "", fmt.Errorf("read what is in maintenance: %w", err)
	}
	for _, s := range answer.Services {
		name, _, _ := strings.Cut(s.Service[strings.LastIndex(s.Service, "/")+1:], ":")
		if name == c.Service {
			return cmp.Or(s.Message, "maintenance"), nil
		}
	}
	return "", nil
}

// deleteImages runs `edge registry delete` in the edge's container, which reaches the registry. It gets the digests of all images that this machine has: what runs, and what `edge deploy
// --undo` goes back to.
func (c *Cleanup) deleteImages(ctx context.Context, edge string) error {
	inUse, _, err := c.Docker.Run(ctx, "images", "--digests", "--no-trunc", "--format", "{{.Digest}}")
	if err != nil {
		return err
	}
	inUse += strings.Join(c.InUse, "\n")
	args := append([]string{"exec", "--interactive", edge, "edge", "registry", "delete", "--service", c.Service}, c.Flags...)
	if c.DryRun {
		args = append(args, "--dry-run")
	}
	// An interruption would not end what runs in the edge's container, which would go on after the registry takes pushes again.
	deletion, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	stderr, err := c.Docker.Stream(deletion, strings.NewReader(inUse), c.Out, args...)
	if err == nil {
		err = ctx.Err()
	}
	if _, message, found := strings.Cut(stderr, "edge: error: "); err != nil && found {
		err = errors.New(strings.TrimSpace(message))
	}
	return err
}

// hasContainer reports whether a container of a name is there, whether it runs or not.
func (c *Cleanup) hasContainer(ctx context.Context, name string) (bool, error) {
	out, _, err := c.Docker.Run(ctx, "ps", "--all", "--quiet", "--filter", "name=^/"+name+"$")
	return strings.TrimSpace(out) != "", err
}

// collectGarbage removes the layers that no image has, in a container that is named collector. Nothing may be pushed meanwhile, and what the registry remembers of
// layers is wrong afterwards: so it is stopped.
func (c *Cleanup) collectGarbage(ctx context.Context, registry, collector string) (err error) {
	defer func() {
		after := context.WithoutCancel(ctx)
		// One that goes on would remove what is pushed from now on.
		if removeErr := c.removeContainer(after, collector); removeErr != nil {
			err = errors.Join(err, removeErr, errors.New("the registry stays stopped, because its layers are still being removed"))
			return
		}
		err = errors.Join(err, c.start(after, registry))
	}()
	// An interruption would not end the Engine's stop, which would come after the start.
	if _, _, err := c.runFor(context.WithoutCancel(ctx), stopTimeout+undoTimeout, "stop", "--time", fmt.Sprint(int(stopTimeout.Seconds())), registry); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// After it has removed the layers, version 3 fails if one of them was pushed by its SHA-512, of which it wants to remove the same name twice. The second time, there is none.
	const script = `for file in /etc/distribution/config.yml /etc/docker/registry/config.yml; do
	if [ -e $file ]; then
		registry garbage-collect $file || exec registry garbage-collect $file
		exit 0
	fi
done
echo "the image has no configuration of a registry" >&2
exit 1`
	var out bytes.Buffer
	if _, err := c.Docker.Stream(ctx, nil, &out, c.Project.Args("run", "--rm", "--name", collector, "--no-deps", "--no-TTY", "--entrypoint", "sh", c.Service, "-c", script)...); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "removed %d layers and manifests from the storage\n", strings.Count(out.String(), "blob eligible for deletion: "))
	return nil
}

// removeContainer removes a container, if it is there.
func (c *Cleanup) removeContainer(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if found, err := c.hasContainer(ctx, name); err != nil || !found {
		return err
	}
	_, _, err := c.Docker.Run(ctx, "rm", "--force", name)
	return err
}

func (c *Cleanup) runFor(ctx context.Context, d time.Duration, args ...string) (string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return c.Docker.Run(ctx, args...)
}

// start starts the registry, and waits until it is healthy.
func (c *Cleanup) start(ctx context.Context, registry string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, _, err := c.Docker.Run(ctx, "start", registry); err != nil {
		return err
	}
	for {
		out, _, err := c.Docker.Run(ctx, "inspect", "--format", "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}", registry)
		if err != nil {
			return err
		}
		if strings.TrimSpace(out) == "running healthy" {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return hint.New(fmt.Errorf("the registry is not healthy after %v: %s", startTimeout, strings.TrimSpace(out)), "docker compose logs "+c.Service)
		}
	}
}

// end has the edge send requests to the registry again.
func (c *Cleanup) end(ctx context.Context, edge string) error {
	if _, _, err := c.runFor(ctx, undoTimeout, "exec", edge, "edge", "maintenance", "off", c.Service); err != nil {
		return hint.New(err, "docker compose exec edge edge maintenance off "+c.Service)
	}
	return nil
}
