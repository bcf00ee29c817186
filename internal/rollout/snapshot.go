package rollout

import (
	"context"
	"fmt"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// snapshot is the state of a service at one moment.
type snapshot struct {
	service    *compose.Service
	hasRoute   bool                 // the edge has a route to it
	containers []container          // all of them, also those that do not run
	desired    version              // what Compose would start now
	imageIDs   map[string]string    // image of the service or of a one-shot → ID, "" if this machine does not have it
	edges      map[string]edgeState // of the edge: container → what it does with its sockets
}

// readSnapshot asks Docker for the state of a service.
func (s *stack) readSnapshot(ctx context.Context, service *compose.Service, hasRoute bool) (snapshot, error) {
	now := snapshot{service: service, hasRoute: hasRoute, imageIDs: make(map[string]string)}
	for _, name := range append(oneShotDependencies(s.Stack, service.Name), service.Name) {
		image := s.ImageName(s.Services[name])
		if _, isKnown := now.imageIDs[image]; !isKnown {
			now.imageIDs[image] = s.imageID(ctx, image)
		}
	}
	hash, err := s.configHash(ctx, service.Name)
	if err != nil {
		return snapshot{}, err
	}
	now.desired = version{hash, now.imageIDs[s.ImageName(service)]}
	now.containers, err = s.containers(ctx, service.Name)
	return now, err
}

// configHash returns the hash that Compose labels containers of the service with.
func (s *stack) configHash(ctx context.Context, service string) (string, error) {
	out, err := s.runCompose(ctx, "config", "--hash", service)
	if err != nil {
		return "", err
	}
	_, hash, found := strings.Cut(strings.TrimSpace(out), " ")
	if !found {
		return "", fmt.Errorf("read the output of `docker compose config --hash`: %q", out)
	}
	return hash, nil
}

// imageID returns the ID of an image, or "" if the image is not on this machine.
func (s *stack) imageID(ctx context.Context, image string) string {
	out, _, err := s.docker.Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}
