package rollout

import (
	"context"
	"fmt"
	"strings"
)

// fetch makes sure that the images are there that Compose is to start containers from, as `docker compose up` would: it
// pulls what is missing, or what is to be pulled always, and builds what is missing and can be built.
func (t *turn) fetch(ctx context.Context, names []string) error {
	for _, name := range names {
		s := t.services[name]
		image := s.image(t.name)
		command, policy := "", t.r.Pull
		if policy == "" {
			policy = s.PullPolicy
		}
		missing := t.imageID(ctx, image) == ""
		switch {
		case s.buildable() && (t.r.Build || policy == "build" || missing):
			command = "build"
		case policy == "never" || !missing && (policy == "" || policy == "missing" || policy == "if_not_present"):
		default: // always, or every so often
			command = "pull"
		}
		switch {
		case command != "":
			t.begin("%s of %s", command, image)
			_, err := t.compose(ctx, command, name)
			switch {
			case err != nil && command == "pull" && !missing:
				return &Problem{err, "--no-pull takes the image that is here"}
			case err != nil:
				return err
			}
			t.done("%s of %s", command, image)
		case missing:
			return &Problem{
				fmt.Errorf("image %s is not on this machine, and is not to be pulled", image),
				strings.TrimSpace("docker compose pull " + name),
			}
		}
	}
	return ctx.Err()
}
