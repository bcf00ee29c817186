package preflight

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/deploy"
)

// checkDeployed warns if the compose files that are read lack the images of `edge deploy`: the next docker compose up would put others in their place.
func (c *Check) checkDeployed(s *stack) []Finding {
	directory := c.Project.Directory
	if directory == "" && len(c.Project.Files) > 0 {
		directory = filepath.Dir(c.Project.Files[0])
	}
	pins, err := deploy.ReadPins(cmp.Or(directory, "."))
	if err != nil {
		return []Finding{errorFinding("deployment", "put what edge deploy has not written into another compose file", "%v", err)}
	}
	if pins.Project != "" && pins.Project != s.Name {
		return nil
	}
	var others []string
	for _, name := range slices.Sorted(maps.Keys(pins.Services)) {
		if service := s.Services[name]; service != nil && service.Image != pins.Services[name].Image {
			others = append(others, name)
		}
	}
	switch {
	case len(others) > 0:
		return []Finding{warningFinding("deployment", "name "+deploy.PinsFile+" as the last file in COMPOSE_FILE in .env, or: edge deploy --unpin "+strings.Join(others, " "),
			"docker compose up would put other images in the place of deployed ones: %s", strings.Join(others, ", "))}
	case len(pins.Services) > 0:
		return []Finding{okFinding("deployment", "%s is read (services: %d)", deploy.PinsFile, len(pins.Services))}
	}
	return nil
}
