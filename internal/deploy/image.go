package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// imageName matches the name of an image: a repository with an optional registry, a tag, and a digest (github.com/distribution/reference, grammar).
var imageName = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`)

// CheckImage returns an error if a text is not the name of an image.
func CheckImage(name string) error {
	if len(name) > 512 || !imageName.MatchString(name) {
		return hint.New(fmt.Errorf("%q is not the name of an image", name), "REPOSITORY[:TAG][@sha256:DIGEST], such as registry.example.com/shop/web:1.3")
	}
	return nil
}

// splitImage splits the name of an image into its repository, its tag with the colon, and its digest with the at sign.
func splitImage(name string) (repository, tag, digest string) {
	name, digest, _ = strings.Cut(name, "@")
	if digest != "" {
		digest = "@" + digest
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i:]
	}
	return name, tag, digest
}

// localImage is the part of the output of `docker image inspect` that a deployment reads.
type localImage struct {
	ID          string `json:"Id"`
	RepoDigests []string
}

// inspectImage returns an image of this machine. It returns nil if there is none of that name.
func inspectImage(ctx context.Context, docker compose.Docker, name string) (*localImage, error) {
	out, stderr, err := docker.Run(ctx, "image", "inspect", name)
	if err != nil {
		if strings.Contains(stderr, "No such image") || strings.Contains(err.Error(), "No such image") {
			return nil, nil
		}
		return nil, err
	}
	var all []localImage
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) == 0 {
		return nil, errors.Join(fmt.Errorf("read the output of `docker image inspect %s`", name), err)
	}
	return &all[0], nil
}

// pull gets an image from its registry. An image that only this machine has is taken as it is, unless the name has a digest.
func pull(ctx context.Context, docker compose.Docker, name, policy string) (*localImage, error) {
	local, err := inspectImage(ctx, docker, name)
	if err != nil {
		return nil, err
	}
	if policy == "never" {
		if local == nil {
			return nil, hint.New(fmt.Errorf("image %s is not on this machine", name), "without --pull never, it is pulled")
		}
		return local, nil
	}
	_, _, digest := splitImage(name)
	if local != nil && digest != "" {
		return local, nil // it cannot be another one
	}
	if _, _, err := docker.Run(ctx, "pull", "--quiet", name); err != nil {
		if local != nil && len(local.RepoDigests) == 0 {
			return local, nil // built here
		}
		return nil, hint.New(fmt.Errorf("pull %s: %w", name, err), "is the name right, and has this machine logged in (docker login)?")
	}
	return inspectImage(ctx, docker, name)
}

// pinImage returns a name that means this very image for ever: with the digest of its registry or, of an image that was built on this machine, with a tag of its own, which
// keeps it from being pruned, too.
func pinImage(ctx context.Context, docker compose.Docker, name string, image *localImage) (string, error) {
	repository, tag, digest := splitImage(name)
	if digest != "" {
		return name, nil
	}
	for _, known := range image.RepoDigests {
		if of, _, digest := splitImage(known); isSameRepository(of, repository) {
			return repository + tag + digest, nil
		}
	}
	_, hexadecimal, _ := strings.Cut(image.ID, ":")
	if len(hexadecimal) < 12 {
		return "", fmt.Errorf("image %s has the ID %q", name, image.ID)
	}
	pinned := repository + ":edge-" + hexadecimal[:12]
	if _, _, err := docker.Run(ctx, "tag", image.ID, pinned); err != nil {
		return "", err
	}
	return pinned, nil
}

// isSameRepository compares names of repositories, one of which may leave out Docker Hub.
func isSameRepository(a, b string) bool { return withoutHub(a) == withoutHub(b) }

func withoutHub(repository string) string {
	for _, prefix := range []string{"docker.io/", "index.docker.io/"} {
		repository = strings.TrimPrefix(repository, prefix)
	}
	return strings.TrimPrefix(repository, "library/")
}
