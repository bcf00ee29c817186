package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// LabelRollout is the label of a service by which its owner says whether two of its containers may run at once: "false",
// or "true" for one whose volumes don't forbid it.
const LabelRollout = "edge.rollout"

// conflicts returns why n containers of the service can't run at once, and nothing if they can. What is running counts:
// two that share a volume already are proof enough.
func (s service) conflicts(services map[string]service, now []container, n int) ([]string, error) {
	all := slices.Concat(s.identityConflicts(n), namespaceConflicts(services, s.name))
	switch s.Labels[LabelRollout] {
	case "":
		if len(runningContainers(now)) < 2 && s.replicas() < 2 {
			all = append(all, s.volumeConflicts(now)...)
		}
	case "false":
		all = append(all, "its label "+LabelRollout+" is false")
	case "true":
	default:
		return nil, fmt.Errorf("label %s is %q; want true or false", LabelRollout, s.Labels[LabelRollout])
	}
	return all, nil
}

// identityConflicts names what only one container can have: a name, an address, a port of the host.
func (s service) identityConflicts(n int) (all []string) {
	if s.ContainerName != "" {
		all = append(all, "its container_name "+s.ContainerName+" can exist once")
	}
	for _, p := range s.Ports {
		if portCount(p.Published) < n {
			all = append(all, "it publishes port "+p.Published+" of the host")
		}
	}
	if s.NetworkMode == "host" || strings.Contains(s.NetworkMode, ":") {
		all = append(all, "it shares a network with others (network_mode "+s.NetworkMode+")")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if a := s.Networks[name]; a != nil && (a.IPv4 != "" || a.IPv6 != "" || a.MAC != "") {
			all = append(all, "it has a fixed address on network "+name)
		}
	}
	if s.Deploy.Mode == "global" {
		all = append(all, "its deploy.mode is global")
	}
	return all
}

// volumeConflicts names what two containers would write to.
func (s service) volumeConflicts(now []container) (all []string) {
	for _, v := range s.Volumes {
		if !v.ReadOnly && v.Source != "" && v.Type != "tmpfs" {
			all = append(all, fmt.Sprintf("it writes to %s %s", v.Type, v.Source))
		}
	}
	for _, from := range s.VolumesFrom {
		if !strings.HasSuffix(from, ":ro") {
			all = append(all, "it writes to volumes of "+from)
		}
	}
	for _, target := range anonymousVolumeTargets(now) {
		// `docker compose up` hands these on to a container's successor; containers side by side each have their own.
		all = append(all, "what it writes to "+target+", a volume without a name, would be left behind")
	}
	return all
}

// namespaceConflicts names the services that live in the namespaces of this one, and would lose them.
func namespaceConflicts(services map[string]service, name string) (all []string) {
	for _, other := range slices.Sorted(maps.Keys(services)) {
		s := services[other]
		for _, mode := range []string{s.NetworkMode, s.IPC, s.PID} {
			if mode == "service:"+name {
				all = append(all, other+" lives in its container")
				break
			}
		}
	}
	return all
}

// portCount returns how many ports of the host a published port of Compose leaves to choose from.
func portCount(published string) int {
	if published == "" || published == "0" {
		return 1 << 16
	}
	first, last, isRange := strings.Cut(published, "-")
	if !isRange {
		return 1
	}
	from, err := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil {
		return 1
	}
	return to - from + 1
}
