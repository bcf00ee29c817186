package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// LabelRollout is the label of a service that says whether two of its containers may run at once: "false" forbids it, and "true"
// allows it although both write to the same volumes.
const LabelRollout = "edge.rollout"

// conflicts returns the reasons why n containers of a service cannot run at once. Shared volumes are no reason if several
// containers run already, or if the compose file asks for several.
func conflicts(stack *compose.Stack, s *compose.Service, existing []container, n int) ([]string, error) {
	all := slices.Concat(identityConflicts(s, n), namespaceConflicts(stack, s.Name))
	switch s.Labels[LabelRollout] {
	case "":
		if len(runningContainers(existing)) < 2 && s.Replicas() < 2 {
			all = append(all, volumeConflicts(s, existing)...)
		}
	case "false":
		all = append(all, "its label "+LabelRollout+" is false")
	case "true":
	default:
		return nil, fmt.Errorf("label %s is %q; want true or false", LabelRollout, s.Labels[LabelRollout])
	}
	return all, nil
}

// edgeConflicts returns the reasons why two containers of the edge cannot run at once. They may share volumes: storages of certificates have
// locks for that.
func edgeConflicts(stack *compose.Stack, s *compose.Service) []string {
	all := slices.Concat(identityConflicts(s, 2), namespaceConflicts(stack, s.Name))
	if s.Labels[LabelRollout] == "false" {
		all = append(all, "its label "+LabelRollout+" is false")
	}
	return all
}

// identityConflicts returns the conflicts about resources that only one container can have: a name, an address, a port of the
// host.
func identityConflicts(s *compose.Service, n int) (all []string) {
	if s.ContainerName != "" {
		all = append(all, "its container_name "+s.ContainerName+" can exist once")
	}
	for _, p := range s.Ports {
		if p.Capacity() < n {
			all = append(all, "it publishes port "+p.Published+" of the host")
		}
	}
	if s.NetworkMode == "host" || strings.Contains(s.NetworkMode, ":") {
		all = append(all, "it shares a network with others (network_mode "+s.NetworkMode+")")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		if a := s.Networks[name]; a.IPv4 != "" || a.IPv6 != "" || a.MAC != "" {
			all = append(all, "it has a fixed address on network "+name)
		}
	}
	if s.Deploy.Mode == "global" {
		all = append(all, "its deploy.mode is global")
	}
	return all
}

// volumeConflicts returns the conflicts about volumes that two containers would write to.
func volumeConflicts(s *compose.Service, existing []container) (all []string) {
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
	for _, target := range anonymousVolumeTargets(existing) {
		// `docker compose up` moves an anonymous volume to the container that replaces another. Containers that run at the same
		// time each have their own.
		all = append(all, "it writes to an anonymous volume at "+target+", which a new container would not get")
	}
	return all
}

// namespaceConflicts returns the conflicts about services that share a namespace of the named one's container, and would lose it.
func namespaceConflicts(stack *compose.Stack, name string) (all []string) {
	for _, other := range stack.ServiceNames() {
		s := stack.Services[other]
		for _, mode := range []string{s.NetworkMode, s.IPC, s.PID} {
			if mode == "service:"+name {
				all = append(all, other+" lives in its container")
				break
			}
		}
	}
	return all
}
