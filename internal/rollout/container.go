package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// container is what a rollout reads of `docker inspect`.
type container struct {
	ID    string
	Name  string // without the slash that Docker puts in front
	Image string // the ID of its image
	State struct {
		Status   string
		ExitCode int
		Error    string
	}
	RestartCount int
	Config       struct{ Labels map[string]string }
	Mounts       []struct {
		Type, Name, Destination string
		RW                      bool
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, GlobalIPv6Address string }
	}
}

// version is what containers of one service can differ in.
type version struct{ configHash, imageID string }

// version returns what Compose itself compares, by the labels that it has given the container.
func (c container) version() version {
	return version{
		c.Config.Labels["com.docker.compose.config-hash"], cmp.Or(c.Config.Labels["com.docker.compose.image"], c.Image),
	}
}

// isUp reports whether the container runs, or is to run again by itself.
func (c container) isUp() bool {
	return c.State.Status == "running" || c.State.Status == "restarting" || c.State.Status == "paused"
}

func (c container) number() int {
	n, _ := strconv.Atoi(c.Config.Labels["com.docker.compose.container-number"]) // for sorting only
	return n
}

// matches reports whether an endpoint is the container: by its ID, or by its address where the edge knows only that.
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

// containers returns all containers of a service, also those that don't run, in the order of their numbers.
func (s *stack) containers(ctx context.Context, service string) ([]container, error) {
	var err error
	for range 3 { // one that ends between the two questions is not there to be inspected
		var ids, text string
		ids, _, err = s.docker.Run(ctx, "ps", "--all", "--quiet", "--no-trunc",
			"--filter", "label=com.docker.compose.project="+s.projectName,
			"--filter", "label=com.docker.compose.service="+service,
			"--filter", "label=com.docker.compose.oneoff=False")
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(ids) == "" {
			return nil, nil
		}
		text, _, err = s.docker.Run(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(ids)...)...)
		if err != nil {
			continue
		}
		var all []container
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("read what `docker inspect` printed: %w", err)
		}
		for i := range all {
			all[i].Name = strings.TrimPrefix(all[i].Name, "/")
		}
		slices.SortFunc(all, func(a, b container) int { return cmp.Compare(a.number(), b.number()) })
		return all, nil
	}
	return nil, err
}

// runningContainers returns the containers that are up.
func runningContainers(all []container) []container {
	return slices.DeleteFunc(slices.Clone(all), func(c container) bool { return !c.isUp() })
}

// intersection returns the containers that are among others.
func intersection(all, others []container) []container {
	return slices.DeleteFunc(slices.Clone(all), func(c container) bool { return !containsID(others, c.ID) })
}

// difference returns the containers that are not among others.
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

// containerNames returns the names of containers for a sentence.
func containerNames(all []container) string {
	texts := make([]string, len(all))
	for i, c := range all {
		texts[i] = c.Name
	}
	return joinNames(texts)
}

// anonymousVolumeTargets returns the directories in which containers keep writable volumes that have no name but an ID.
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

// largestVersionGroup returns the size of the largest group of one version: how many containers of the service there should be, whatever
// an earlier rollout that was killed has left beside them.
func largestVersionGroup(all []container) int {
	groups := make(map[version]int)
	n := 0
	for _, c := range all {
		groups[c.version()]++
		n = max(n, groups[c.version()])
	}
	return n
}
