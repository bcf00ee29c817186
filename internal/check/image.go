package check

import "strings"

// moving are tags that mean another image tomorrow.
var moving = map[string]bool{
	"": true, "latest": true, "stable": true, "main": true, "master": true, "edge": true, "nightly": true, "dev": true, "next": true, "current": true,
}

// images sees that the compose file says which version of each image it wants. What it builds itself is of the checkout's
// version.
func (c *Check) images(s *stack) []Finding {
	built := make(map[string]bool)
	for _, service := range s.Services {
		if service.built() {
			built[service.Image] = true
		}
	}
	var all []Finding
	n := 0
	for _, service := range s.services() {
		n++
		if tag := tagOf(service.Image); moving[tag] && !built[service.Image] && !service.built() {
			all = append(all, warning("image", "name a version, such as "+service.Image[:len(service.Image)-len(tagSuffix(service.Image))]+":1.2.3, so that updates come when you want them", "%s: %s is another image whenever it is pulled", service.name, service.Image))
		}
	}
	if len(all) == 0 {
		all = append(all, ok("image", "every service names a version of its image (services: %d)", n))
	}
	return all
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
