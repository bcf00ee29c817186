package preflight

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// checkVolumes sees that what is to be there is there, and tells when some of a project's data is missing beside the rest.
func (c *Check) checkVolumes(ctx context.Context, s *stack) []Finding {
	used := make(map[string]bool)
	for _, service := range s.activeServices() {
		for _, m := range service.Volumes {
			if m.Type == "volume" && m.Source != "" {
				used[m.Source] = true
			}
		}
	}
	if !s.hasEngine || len(used) == 0 {
		return nil
	}
	out, _, err := c.Docker.Run(ctx, "volume", "ls", "--quiet")
	if err != nil {
		return []Finding{warningFinding("volume", "docker volume ls", "volumes can't be listed: %v", err)}
	}
	there := strings.Fields(out)
	var all, absent []Finding
	present := 0
	for _, key := range slices.Sorted(maps.Keys(used)) {
		v := s.Volumes[key]
		switch {
		case slices.Contains(there, v.Name):
			present++
		case v.isExternal():
			all = append(all, errorFinding("volume", "docker volume create "+v.Name+", if its data is not elsewhere", "%s is not there, and the compose file says that somebody else makes it", v.Name))
		default:
			absent = append(absent, warningFinding("volume", "if it has been lost, restore it first; if it is new, all is well", "%s is not there, while others of the project are: the stack would start with an empty one", v.Name))
		}
	}
	switch {
	case present > 0 && len(absent) > 0:
		all = append(all, absent...)
	case len(absent) > 0:
		all = append(all, okFinding("volume", "they will be made at the first start (volumes: %d)", len(absent)))
	case len(all) == 0:
		all = append(all, okFinding("volume", "all are there (volumes: %d)", present))
	}
	return all
}
