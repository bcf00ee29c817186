package preflight

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// ownImages are the images that the compose file and the Makefile of this project build. No registry has them.
var ownImages = []string{"edge:dev", "edge-gate:dev"}

// mutableTags are tags that publishers move to each new version.
var mutableTags = map[string]bool{
	"": true, "latest": true, "stable": true, "main": true, "master": true, "edge": true, "nightly": true, "dev": true, "next": true, "current": true,
}

// checkImages checks that the compose file names the version of each image that is pulled. An image that Compose or a person builds on
// this machine needs none.
func (c *Check) checkImages(ctx context.Context, s *stack) []Finding {
	built := make(map[string]bool)
	for _, service := range s.Services {
		if service.HasBuild() {
			built[service.Image] = true
		}
	}
	var all []Finding
	n := 0
	for _, service := range s.activeServices() {
		n++
		if mutableTags[tagOf(service.Image)] && !built[service.Image] && !service.HasBuild() && !c.isLocalImage(ctx, s, service) {
			all = append(all, warningFinding("image", "name a version, such as "+service.Image[:len(service.Image)-len(tagSuffix(service.Image))]+":1.2.3, so that you decide when to update", "%s: each pull of %s can bring another version", service.Name, service.Image))
		}
	}
	if len(all) == 0 {
		all = append(all, okFinding("image", "every service names a version of its image (services: %d)", n))
	}
	return all
}

// isLocalImage reports whether a service's image is never pulled.
func (c *Check) isLocalImage(ctx context.Context, s *stack, of *compose.Service) bool {
	if slices.Contains(ownImages, of.Image) || of.PullPolicy == "never" || of.PullPolicy == "build" {
		return true
	}
	if !s.hasEngine {
		return false
	}
	out, _, err := c.Docker.Run(ctx, "image", "inspect", "--format", "{{json .RepoDigests}}", of.Image)
	var digests []string // an image from a registry has one
	return err == nil && json.Unmarshal([]byte(out), &digests) == nil && len(digests) == 0
}

// tagOf returns the digest of an image or, if it has none, its tag.
func tagOf(image string) string {
	if _, digest, pinned := strings.Cut(image, "@"); pinned {
		return digest
	}
	return strings.TrimPrefix(tagSuffix(image), ":")
}

// tagSuffix returns the tag of an image with its colon, or "". A colon before a slash belongs to the registry's port.
func tagSuffix(image string) string {
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		return image[colon:]
	}
	return ""
}
