// Package imagecleanup deletes the images of a container registry that nobody needs any more.
package imagecleanup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Policy says which tags stay.
type Policy struct {
	Keep     int             // the newest tags of each repository
	KeepFor  time.Duration   // tags of images that are younger
	KeepTags *regexp.Regexp  // tags that match; nil: none
	InUse    map[string]bool // digests of images, whatever their tags
}

// Plan is what is deleted, and why the rest is not.
type Plan struct {
	Repositories []Repository
}

// Repository is the part of a plan that is about one repository.
type Repository struct {
	Name   string
	Kept   []Tag
	Delete []Tag
	// manifests are what is deleted: each with all its tags, and what only deleted lists of platforms name.
	manifests []ocispec.Descriptor
}

// Tag is a name of an image.
type Tag struct {
	Name    string
	Digest  digest.Digest
	Created time.Time // zero if the image does not say, as those of reproducible builds
	Reason  string    // why it stays
}

// String returns the plan as text, without the tags that stay.
func (p *Plan) String() string {
	var b strings.Builder
	for _, r := range p.Repositories {
		if len(r.Delete) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d of %d tags\n", r.Name, len(r.Delete), len(r.Delete)+len(r.Kept))
		for _, t := range r.Delete {
			fmt.Fprintf(&b, "  %s  %s  of %s\n", t.Name, t.Digest.Encoded()[:12], t.Created.UTC().Format(time.DateOnly))
		}
	}
	return b.String()
}

// MakePlan reads all tags of a registry. now is the time from which ages count.
func MakePlan(ctx context.Context, registry *remote.Registry, policy Policy, now time.Time) (*Plan, error) {
	var names []string
	if err := registry.Repositories(ctx, "", func(some []string) error {
		names = append(names, some...)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the repositories: %w", err)
	}
	plan := new(Plan)
	for _, name := range names {
		r, err := planRepository(ctx, registry, name, policy, now)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", name, err)
		}
		plan.Repositories = append(plan.Repositories, *r)
	}
	return plan, nil
}

func planRepository(ctx context.Context, registry *remote.Registry, name string, policy Policy, now time.Time) (*Repository, error) {
	repository, err := openRepository(registry, name)
	if err != nil {
		return nil, err
	}
	var names []string
	err = repository.Tags(ctx, "", func(some []string) error {
		names = append(names, some...)
		return nil
	})
	if isNotFound(err) { // all its tags have been deleted
		return &Repository{Name: name}, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Tag
	descriptors := make(map[digest.Digest]ocispec.Descriptor)
	parts := make(map[digest.Digest][]ocispec.Descriptor) // of lists of platforms
	for _, name := range names {
		d, err := repository.Resolve(ctx, name)
		if isNotFound(err) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", name, err)
		}
		t := Tag{Name: name, Digest: d.Digest}
		descriptors[d.Digest] = d
		// An image that is not complete fails the plan: what cannot be read could need what is deleted.
		if t.Created, parts[d.Digest], err = readImage(ctx, repository, d); err != nil {
			return nil, fmt.Errorf("tag %s: %w", name, err)
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b Tag) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Name, b.Name)) })
	r := &Repository{Name: name}
	needed := make(map[digest.Digest]bool)
	for i, t := range all {
		if all[i].Reason = policy.reasonToKeep(i, t, parts[t.Digest], now); all[i].Reason != "" {
			needed[t.Digest] = true
			for _, part := range parts[t.Digest] {
				needed[part.Digest] = true
			}
		}
	}
	unneeded := make(map[digest.Digest]ocispec.Descriptor)
	for _, t := range all {
		if signed := signedImage(t.Name); needed[t.Digest] || signed != "" && needed[signed] {
			t.Reason = cmp.Or(t.Reason, "part of an image that stays") // deleting an image deletes all its tags
			r.Kept = append(r.Kept, t)
			continue
		}
		r.Delete = append(r.Delete, t)
		unneeded[t.Digest] = descriptors[t.Digest]
		for _, part := range parts[t.Digest] {
			if !needed[part.Digest] && !policy.InUse[part.Digest.String()] {
				unneeded[part.Digest] = part
			}
		}
	}
	r.manifests = slices.SortedFunc(maps.Values(unneeded), func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return r, nil
}

// reasonToKeep returns why a tag stays, the nth newest one; "" if it does not, or only with another one.
func (p *Policy) reasonToKeep(n int, t Tag, parts []ocispec.Descriptor, now time.Time) string {
	switch {
	case signedImage(t.Name) != "":
		return "" // a signature stays as long as its image
	case n < p.Keep:
		return fmt.Sprintf("one of the newest %d", p.Keep)
	case p.InUse[t.Digest.String()], slices.ContainsFunc(parts, func(d ocispec.Descriptor) bool { return p.InUse[d.Digest.String()] }):
		return "in use"
	case p.KeepTags != nil && p.KeepTags.MatchString(t.Name):
		return "its name"
	case t.Created.IsZero():
		return "of unknown age"
	case now.Sub(t.Created) < p.KeepFor:
		return "young"
	}
	return ""
}

var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\..*)?$`)

// signedImage returns the digest of the image to which a tag of cosign belongs; "" if it is another tag.
func signedImage(tag string) digest.Digest {
	if m := signatureTag.FindStringSubmatch(tag); m != nil {
		return digest.NewDigestFromEncoded(digest.SHA256, m[1])
	}
	return ""
}

// readImage returns when an image was made, and its parts if it is a list of images for several platforms: then it is as old as its newest part.
func readImage(ctx context.Context, repository *remote.Repository, d ocispec.Descriptor) (created time.Time, parts []ocispec.Descriptor, err error) {
	next, err := content.Successors(ctx, repository, d)
	if err != nil {
		return time.Time{}, nil, err
	}
	isList := d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == dockerManifestList // what another image refers to is not part of it
	for _, s := range next {
		switch s.MediaType {
		case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerManifestList:
			if !isList {
				continue
			}
			partCreated, _, err := readImage(ctx, repository, s)
			if isNotFound(err) {
				continue // the list names a platform that was never pushed
			}
			if err != nil {
				return time.Time{}, nil, err
			}
			parts = append(parts, s)
			if partCreated.After(created) {
				created = partCreated
			}
		case ocispec.MediaTypeImageConfig, dockerConfig:
			text, err := content.FetchAll(ctx, repository, s)
			if err != nil {
				return time.Time{}, nil, err
			}
			var config struct{ Created time.Time }
			if err := json.Unmarshal(text, &config); err != nil {
				return time.Time{}, nil, fmt.Errorf("read the configuration of the image: %w", err)
			}
			if config.Created.After(firstImages) {
				created = config.Created
			}
		}
	}
	return created, parts, nil
}

// firstImages is when Docker was first released: an earlier date, such as 1980-01-01, is that of a reproducible build, and does not say how old the image is.
var firstImages = time.Date(2013, 3, 20, 0, 0, 0, 0, time.UTC)

// The types of Docker's own formats: distribution.github.io/distribution/spec/manifest-v2-2.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
)

// Execute deletes what the plan says, and writes a line for each repository. An image that is gone meanwhile is no error.
func (p *Plan) Execute(ctx context.Context, registry *remote.Registry, out io.Writer) error {
	for _, r := range p.Repositories {
		repository, err := openRepository(registry, r.Name)
		if err != nil {
			return err
		}
		for _, d := range r.manifests {
			if err := repository.Manifests().Delete(ctx, d); err != nil && !isNotFound(err) {
				return fmt.Errorf("delete %s@%s: %w", r.Name, d.Digest, err)
			}
		}
		if len(r.Delete) > 0 {
			fmt.Fprintf(out, "%s: deleted %d tags, kept %d\n", r.Name, len(r.Delete), len(r.Kept))
		}
	}
	return nil
}

func openRepository(registry *remote.Registry, name string) (*remote.Repository, error) {
	reference := registry.Reference
	reference.Repository = name
	if err := reference.ValidateRepository(); err != nil {
		return nil, err
	}
	repository, err := remote.NewRepository(reference.Registry + "/" + name)
	if err != nil {
		return nil, err
	}
	repository.PlainHTTP, repository.Client = registry.PlainHTTP, registry.Client
	// Signatures are images of their own here; they are deleted by their tags.
	if err := repository.SetReferrersCapability(true); err != nil {
		return nil, err
	}
	return repository, nil
}

func isNotFound(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.Is(err, errdef.ErrNotFound) || errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
