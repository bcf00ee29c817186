package rollout

import (
	"context"
	"fmt"
	"strings"
)

// fetchImages makes sure that the images are there that Compose is to start containers from, as `docker compose up` would: it
// pulls what is missing, or what is to be pulled always, and builds what is missing and can be built.
func (t *serviceRollout) fetchImages(ctx context.Context, names []string) error {
	for _, name := range names {
		s := t.services[name]
		image := s.imageName(t.projectName)
		command, policy := "", t.rollout.Pull
		if policy == "" {
			policy = s.PullPolicy
		}
		missing := t.imageID(ctx, image) == ""
		switch {
		case s.hasBuild() && (t.rollout.Build || policy == "build" || missing):
			command = "build"
		case policy == "never" || !missing && (policy == "" || policy == "missing" || policy == "if_not_present"):
		default: // always, or every so often
			command = "pull"
		}
		switch {
		case command != "":
			t.startStep("%s of %s", command, image)
			_, err := t.runCompose(ctx, command, name)
			switch {
			case err != nil && command == "pull" && !missing:
				return &HintError{err, "--no-pull takes the image that is here"}
			case err != nil:
				return err
			}
			t.finishStep("%s of %s", command, image)
		case missing:
			return &HintError{
				fmt.Errorf("image %s is not on this machine, and is not to be pulled", image),
				strings.TrimSpace("docker compose pull " + name),
			}
		}
	}
	return ctx.Err()
}
