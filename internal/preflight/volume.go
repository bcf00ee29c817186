package preflight

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// checkVolumes checks that external volumes exist. It warns if some volumes of the project exist and others do not: those may be lost.
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
	existing := strings.Fields(out)
	var all, absent []Finding
	present := 0
	for _, key := range slices.Sorted(maps.Keys(used)) {
		v := s.Volumes[key]
		switch {
		case slices.Contains(existing, v.Name):
			present++
		case v.IsExternal():
			all = append(all, errorFinding("volume", "docker volume create "+v.Name+", if its data is not elsewhere", "the external volume %s does not exist", v.Name))
		default:
			absent = append(absent, warningFinding("volume", "if it was lost, restore it first; if it is new, ignore this", "%s does not exist, while other volumes of the project do: the stack would start with an empty one", v.Name))
		}
	}
	switch {
	case present > 0 && len(absent) > 0:
		all = append(all, absent...)
	case len(absent) > 0:
		all = append(all, okFinding("volume", "they will be created at the first start (volumes: %d)", len(absent)))
	case len(all) == 0:
		all = append(all, okFinding("volume", "all exist (volumes: %d)", present))
	}
	return all
}
