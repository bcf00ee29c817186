package rollout

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// container is a container of a service.
type container struct{ compose.Container }

// version identifies a version of a service: containers with equal versions are interchangeable.
type version struct{ configHash, imageID string }

// version returns the container's version, from the labels that Compose compares itself.
func (c container) version() version {
	return version{
		c.Config.Labels["com.docker.compose.config-hash"], cmp.Or(c.Config.Labels["com.docker.compose.image"], c.Image),
	}
}

// matches reports whether an endpoint is the container. It compares addresses if the edge does not know the container's ID, which
// is the case with DNS alone.
func (c container) matches(e endpoint) bool {
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil || e.ID != e.Address && e.ID != host {
		return e.ID == c.ID
	}
	for _, n := range c.NetworkSettings.Networks {
		if host == n.IPAddress || host == n.GlobalIPv6Address {
			return true
		}
	}
	return false
}

// containers returns all containers of a service, also those that do not run, by number.
func (s *stack) containers(ctx context.Context, service string) ([]container, error) {
	found, err := compose.Containers(ctx, s.docker, s.Name, service)
	if err != nil {
		return nil, err
	}
	var all []container
	for _, c := range found {
		all = append(all, container{c})
	}
	return all, nil
}

// runningContainers returns the containers that are up.
func runningContainers(all []container) []container {
	return slices.DeleteFunc(slices.Clone(all), func(c container) bool { return !c.IsUp() })
}

// intersection returns those of all that are in others.
func intersection(all, others []container) []container {
	return slices.DeleteFunc(slices.Clone(all), func(c container) bool { return !containsID(others, c.ID) })
}

// difference returns those of all that are not in others.
func difference(all, others []container) []container {
	return slices.DeleteFunc(slices.Clone(all), func(c container) bool { return containsID(others, c.ID) })
}

func containsID(all []container, id string) bool {
	return slices.ContainsFunc(all, func(c container) bool { return c.ID == id })
}

func containerIDs(all []container) []string {
	texts := make([]string, len(all))
	for i, c := range all {
		texts[i] = c.ID
	}
	return texts
}

// containerNames returns the containers' names, joined for a message.
func containerNames(all []container) string {
	texts := make([]string, len(all))
	for i, c := range all {
		texts[i] = c.Name
	}
	return joinNames(texts)
}

// anonymousVolumeTargets returns the directories at which containers have a writable anonymous volume. Docker names such a volume
// by 64 hexadecimal digits.
func anonymousVolumeTargets(all []container) []string {
	targets := make(map[string]bool)
	for _, c := range all {
		for _, m := range c.Mounts {
			if m.Type == "volume" && m.RW && len(m.Name) == 64 && strings.Trim(m.Name, "0123456789abcdef") == "" {
				targets[m.Destination] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(targets))
}

// largestVersionGroup returns how many of the containers have the most frequent version. That is how many containers the service
// has, also if a killed rollout has left containers of two versions.
func largestVersionGroup(all []container) int {
	counts := make(map[version]int)
	n := 0
	for _, c := range all {
		counts[c.version()]++
		n = max(n, counts[c.version()])
	}
	return n
}

// filterByVersion returns the containers of a version.
func filterByVersion(all []container, want version) (same []container) {
	for _, c := range all {
		if c.version() == want {
			same = append(same, c)
		}
	}
	return same
}

// joinNames joins names for a message.
func joinNames(names []string) string { return strings.Join(names, ", ") }
