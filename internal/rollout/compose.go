package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/hint"
)

// upArgs has Compose start containers of one service, from images that are on this machine.
var upArgs = []string{"up", "--detach", "--no-deps", "--no-build", "--pull", "never"}

// runCompose runs a command of Compose on the project.
func (s *stack) runCompose(ctx context.Context, args ...string) (string, error) {
	out, _, err := s.docker.Run(ctx, s.project.Args(args...)...)
	return out, err
}

// composeUp has Compose start containers of a service.
func (s *stack) composeUp(ctx context.Context, service string, flags ...string) error {
	_, err := s.runCompose(ctx, slices.Concat(upArgs, flags, []string{service})...)
	return err
}

// dryRunUp returns an error if Compose, in order to start containers of a service, would stop others or remove a network.
// Compose does so without asking if the definition of a network has changed. dryRunUp changes nothing.
func (s *stack) dryRunUp(ctx context.Context, service string, flags ...string) error {
	args := slices.Concat([]string{"--dry-run"}, upArgs, []string{"--no-recreate"}, flags, []string{service})
	stdout, stderr, err := s.docker.Run(ctx, s.project.Args(args...)...)
	if err != nil {
		return err
	}
	var disruptions []string
	for line := range strings.Lines(stdout + stderr) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, " Stopping") || strings.HasSuffix(line, " Removed") {
			disruptions = append(disruptions, strings.Join(strings.Fields(line)[3:], " ")) // without DRY-RUN MODE -
		}
	}
	if len(disruptions) == 0 {
		return nil
	}
	return hint.New(
		fmt.Errorf("more has changed in the file than a rollout can bring about: to start %s, Compose would do this: %s", service, joinNames(disruptions)),
		"docker compose up --detach does it, with an interruption",
	)
}

// stopAndRemove stops containers and removes them, with their anonymous volumes.
func (s *stack) stopAndRemove(ctx context.Context, all []container, stopFlags []string) error {
	if len(all) == 0 {
		return nil
	}
	_, _, stopErr := s.docker.Run(ctx, slices.Concat([]string{"stop"}, stopFlags, containerIDs(all))...)
	_, _, removeErr := s.docker.Run(ctx, slices.Concat([]string{"rm", "--volumes"}, containerIDs(all))...)
	return errors.Join(stopErr, removeErr)
}
