package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// runCompose runs a command of Compose on the project.
func (s *stack) runCompose(ctx context.Context, args ...string) (string, error) {
	out, _, err := s.docker.Run(ctx, s.project.Args(args...)...)
	return out, err
}

// composeUp has Compose start containers of a service from what is on this machine.
func (s *stack) composeUp(ctx context.Context, service string, flags ...string) error {
	args := slices.Concat([]string{"up", "--detach", "--no-deps", "--no-build", "--pull", "never"}, flags, []string{service})
	_, err := s.runCompose(ctx, args...)
	return err
}

// dryRunUp returns an error if starting containers of a service would stop others or take a network from them: Compose does
// that, without asking, when a network is described in another way than before. It changes nothing.
func (s *stack) dryRunUp(ctx context.Context, service string, flags ...string) error {
	args := slices.Concat([]string{"--dry-run", "up", "--detach", "--no-deps", "--no-build", "--pull", "never", "--no-recreate"}, flags, []string{service})
	stdout, stderr, err := s.docker.Run(ctx, s.project.Args(args...)...)
	if err != nil {
		return err
	}
	var harm []string
	for line := range strings.Lines(stdout + stderr) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, " Stopping") || strings.HasSuffix(line, " Removed") {
			harm = append(harm, strings.Join(strings.Fields(line)[3:], " ")) // after DRY-RUN MODE -
		}
	}
	if len(harm) == 0 {
		return nil
	}
	return &HintError{
		fmt.Errorf("more has changed in the file than a rollout can bring about: to start %s, Compose would do this: %s", service, joinNames(harm)),
		"docker compose up --detach does it, with an interruption",
	}
}

// desiredVersion returns the version that Compose would start now. The image is empty if this machine doesn't have it.
func (s *stack) desiredVersion(ctx context.Context, service string) (version, error) {
	out, err := s.runCompose(ctx, "config", "--hash", service)
	if err != nil {
		return version{}, err
	}
	_, hash, found := strings.Cut(strings.TrimSpace(out), " ")
	if !found {
		return version{}, fmt.Errorf("read what `docker compose config --hash` printed: %q", out)
	}
	return version{hash, s.imageID(ctx, s.services[service].imageName(s.projectName))}, nil
}

// imageID returns the ID of an image, and nothing if it is not on this machine.
func (s *stack) imageID(ctx context.Context, image string) string {
	out, _, err := s.docker.Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// stopAndRemove stops containers and removes them, with their volumes that have no name.
func (s *stack) stopAndRemove(ctx context.Context, all []container, stop []string) error {
	if len(all) == 0 {
		return nil
	}
	_, _, stopped := s.docker.Run(ctx, slices.Concat([]string{"stop"}, stop, containerIDs(all))...)
	_, _, removed := s.docker.Run(ctx, slices.Concat([]string{"rm", "--volumes"}, containerIDs(all))...)
	return errors.Join(stopped, removed)
}
