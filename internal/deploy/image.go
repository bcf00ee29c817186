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
	if len(name) > 512 || !imageName.MatchString(name) || strings.HasPrefix(name, "sha256:") { // that is an ID
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

// pull gets an image from its registry. An image that only this machine has is taken as it is, unless the name has a digest. Otherwise the name goes on meaning the image that it meant: the
// compose file, and other services, may use it: kept is its ID.
func (r *run) pull(ctx context.Context, name string) (image *localImage, kept string, err error) {
	local, err := inspectImage(ctx, r.Docker, name)
	if err != nil {
		return nil, "", err
	}
	if r.Pull == "never" {
		return r.present(ctx, name, local)
	}
	_, _, digest := splitImage(name)
	if local != nil && digest != "" {
		return local, "", nil // it cannot be another one
	}
	if _, _, err := r.Docker.Run(ctx, "pull", "--quiet", name); err != nil {
		if local == nil {
			return nil, "", hint.New(fmt.Errorf("pull %s: %w", name, err), "is the name right, and has this machine logged in (docker login)?")
		}
		if len(local.RepoDigests) > 0 {
			return nil, "", hint.New(fmt.Errorf("pull %s: %w", name, err), "--pull never takes the image of that name that this machine has")
		}
		r.print("no registry has %s; the one that was built on this machine is taken", name)
		return local, "", nil
	}
	pulled, err := inspectImage(context.WithoutCancel(ctx), r.Docker, name)
	if err == nil && pulled == nil {
		err = fmt.Errorf("image %s was removed meanwhile", name)
	}
	if err == nil && local != nil && pulled.ID != local.ID {
		kept = local.ID
		_, _, err = r.Docker.Run(context.WithoutCancel(ctx), "tag", local.ID, name)
	}
	return pulled, kept, err
}

// present returns the image of a name that was pulled last, by whatever command: the one that was deployed last under it, if the name has kept its meaning then and means the same now.
func (r *run) present(ctx context.Context, name string, local *localImage) (image *localImage, kept string, err error) {
	if local == nil {
		return nil, "", hint.New(fmt.Errorf("image %s is not on this machine", name), "without --pull never, it is pulled")
	}
	var last *Deployment
	for _, all := range r.pins.Deployments {
		for i, d := range all {
			if d.Image == name && d.Kept == local.ID && (last == nil || d.Time.After(last.Time)) {
				last = &all[i]
			}
		}
	}
	if last == nil {
		return local, "", nil
	}
	if image, err = inspectImage(ctx, r.Docker, last.Pinned); err != nil || image != nil {
		return image, last.Kept, err
	}
	return local, "", nil // it was removed
}

// pinImage returns a name that means this very image for ever: with the digest of its registry or, of an image that was built on this machine, with a tag of its own. The image gets
// that tag in any case: it keeps the image from being pruned, and Docker with the image store of containerd gives a digest to what was built here, too.
func pinImage(ctx context.Context, docker compose.Docker, name string, image *localImage) (string, error) {
	own, err := ownTag(name, image)
	if err != nil {
		return "", err
	}
	if _, _, err := docker.Run(ctx, "tag", image.ID, own); err != nil {
		return "", err
	}
	repository, tag, digest := splitImage(name)
	if digest != "" {
		return name, nil
	}
	for _, known := range image.RepoDigests {
		if of, _, digest := splitImage(known); isSameRepository(of, repository) {
			return repository + tag + digest, nil
		}
	}
	return own, nil
}

// ownTag returns the name that an image has because it was deployed.
func ownTag(name string, image *localImage) (string, error) {
	_, hexadecimal, _ := strings.Cut(image.ID, ":")
	if len(hexadecimal) < 12 {
		return "", fmt.Errorf("image %s has the ID %q", name, image.ID)
	}
	repository, _, _ := splitImage(name)
	return repository + ":edge-" + hexadecimal[:12], nil
}

// ownTagEnd matches the end of the name that an image has because it was deployed.
var ownTagEnd = regexp.MustCompile(`:edge-[0-9a-f]{12}$`)

// checkOwnTag returns an error if somebody has given the name that an image had because it was deployed to another image.
func checkOwnTag(name string, image *localImage) error {
	if !ownTagEnd.MatchString(name) {
		return nil
	}
	own, err := ownTag(name, image)
	if err == nil && own != name {
		err = hint.New(fmt.Errorf("%s is another image than the one that was deployed", name), "deploy the version that you want by its own name")
	}
	return err
}

// untag removes the tags of images to which no deployment can be undone any more. One that is used stays, and an error is no reason to fail.
func (r *run) untag(ctx context.Context, dropped []Deployment) {
	for _, d := range dropped {
		for _, name := range []string{d.Pinned, d.Previous} {
			if name == "" {
				continue
			}
			image, err := inspectImage(ctx, r.Docker, name)
			if err != nil || image == nil {
				continue
			}
			if own, err := ownTag(name, image); err == nil && !r.isUsed(ctx, image) {
				_, _, _ = r.Docker.Run(ctx, "image", "rm", own) // a container may need it
			}
		}
	}
}

// isUsed reports whether a deployment that the file keeps, of any service, has an image.
func (r *run) isUsed(ctx context.Context, image *localImage) bool {
	for _, all := range r.pins.Deployments {
		for _, d := range all {
			for _, name := range []string{d.Pinned, d.Previous} {
				if name == "" {
					continue
				}
				if other, err := inspectImage(ctx, r.Docker, name); err != nil || other != nil && other.ID == image.ID {
					return true
				}
			}
		}
	}
	return false
}

// isSameRepository compares names of repositories, one of which may leave out Docker Hub.
func isSameRepository(a, b string) bool { return withoutHub(a) == withoutHub(b) }

func withoutHub(repository string) string {
	for _, prefix := range []string{"docker.io/", "index.docker.io/"} {
		repository = strings.TrimPrefix(repository, prefix)
	}
	return strings.TrimPrefix(repository, "library/")
}
