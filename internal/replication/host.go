package replication

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// portService is the service with the only port of a host of databases.
const portService = "databases"

// defaultProject is the name of the project in compose.databases.yaml.
const defaultProject = "infrastructure-databases"

// hostTimeout bounds how long the Engine of another host may take to respond.
const hostTimeout = 15 * time.Second

// host is a host of databases, and how its Engine is reached.
type host struct {
	address string
	project string
	url     string
	docker  compose.StreamingDocker
}

// host returns one of the hosts: that of the primary, or of the replica.
func (s *Stack) host(address string) *host {
	side := 0
	if address == s.config.Replica {
		side = 1
	}
	url := cmp.Or(s.variables[swapped[1][side]], "ssh://root@"+address)
	return &host{address, cmp.Or(s.variables[swapped[2][side]], defaultProject), url, s.Docker(url)}
}

// responds reports whether the host's Engine does. The error says why not.
func (h *host) responds(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, hostTimeout, fmt.Errorf("no answer for %s", hostTimeout))
	defer cancel()
	if _, _, err := h.docker.Run(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("the Docker Engine of %s (%s): %w", h.address, h.url, err)
	}
	return nil
}

// container returns the container of a service.
func (h *host) container(ctx context.Context, service string) (compose.Container, error) {
	all, err := compose.Containers(ctx, h.docker, h.project, service)
	if err != nil {
		return compose.Container{}, err
	}
	if len(all) != 1 {
		return compose.Container{}, hint.New(fmt.Errorf("%s: the project %s has %d containers of %s, want 1", h.address, h.project, len(all), service), "docker compose up --detach there; DATABASES_PROJECT and DATABASES_REPLICA_PROJECT name the projects")
	}
	return all[0], nil
}

// stop stops services on the host, each of which has to be there. A container that somebody has stopped does not start again when the host does.
func (h *host) stop(ctx context.Context, services ...string) error {
	for _, service := range services {
		c, err := h.container(ctx, service)
		if err != nil {
			return err
		}
		args := []string{"stop", c.ID}
		if service == portService { // it would wait for its clients
			args = []string{"stop", "--time", "1", c.ID}
		}
		if _, _, err := h.docker.Run(ctx, args...); err != nil {
			return err
		}
		if c, err = h.container(ctx, service); err == nil && c.IsUp() {
			err = fmt.Errorf("%s still runs on %s", service, h.address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *host) start(ctx context.Context, services ...string) error {
	for _, service := range services {
		c, err := h.container(ctx, service)
		if err != nil {
			return err
		}
		if _, _, err := h.docker.Run(ctx, "start", c.ID); err != nil {
			return err
		}
	}
	return nil
}
