package preflight

import (
	"context"
	"encoding/json"
	"strings"
)

// edgeImage is what this project's compose file and Makefile build. No registry has it.
const edgeImage = "edge:dev"

// mutableTags are tags that mean another image tomorrow.
var mutableTags = map[string]bool{
	"": true, "latest": true, "stable": true, "main": true, "master": true, "edge": true, "nightly": true, "dev": true, "next": true, "current": true,
}

// checkImages sees that the compose file says which version of each image it wants. An image that is not pulled has no other version:
// Compose builds it, or somebody built it on this machine.
func (c *Check) checkImages(ctx context.Context, s *stack) []Finding {
	built := make(map[string]bool)
	for _, service := range s.Services {
		if service.hasBuild() {
			built[service.Image] = true
		}
	}
	var all []Finding
	n := 0
	for _, service := range s.activeServices() {
		n++
		if mutableTags[tagOf(service.Image)] && !built[service.Image] && !service.hasBuild() && !c.isLocalImage(ctx, s, service) {
			all = append(all, warningFinding("image", "name a version, such as "+service.Image[:len(service.Image)-len(tagSuffix(service.Image))]+":1.2.3, so that updates come when you want them", "%s: %s is another image whenever it is pulled", service.name, service.Image))
		}
	}
	if len(all) == 0 {
		all = append(all, okFinding("image", "every service names a version of its image (services: %d)", n))
	}
	return all
}

// isLocalImage reports whether an image is never pulled.
func (c *Check) isLocalImage(ctx context.Context, s *stack, of *service) bool {
	if of.Image == edgeImage || of.PullPolicy == "never" || of.PullPolicy == "build" {
		return true
	}
	if !s.hasEngine {
		return false
	}
	out, _, err := c.Docker.Run(ctx, "image", "inspect", "--format", "{{json .RepoDigests}}", of.Image)
	var digests []string // which the registry gave it
	return err == nil && json.Unmarshal([]byte(out), &digests) == nil && len(digests) == 0
}

// tagOf returns the tag of an image; its digest, if it has one.
func tagOf(image string) string {
	if _, digest, pinned := strings.Cut(image, "@"); pinned {
		return digest
	}
	return strings.TrimPrefix(tagSuffix(image), ":")
}

// tagSuffix returns what follows an image's repository; a colon before a slash belongs to a port.
func tagSuffix(image string) string {
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		return image[colon:]
	}
	return ""
}
