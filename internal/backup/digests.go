package backup

import (
	"cmp"
	"context"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// noteDigests notes from which images the application runs: that of the server, too, whose migrations the data has gone through. It is for people, and its lack no failure.
func (b *appBackup) noteDigests(ctx context.Context) error {
	isSource := make(map[string]bool)
	for _, s := range b.app.Sources {
		isSource[s.Service] = true
	}
	services := make(map[string][]string) // of each image
	for _, name := range stopOrder(b.stack, isSource, cmp.Or(b.Edge, EdgeApp)) {
		all, err := compose.Containers(ctx, b.Docker, b.stack.Name, name)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			services[all[0].Image] = append(services[all[0].Image], name)
		}
	}
	if len(services) == 0 {
		return nil
	}
	args := append([]string{"image", "inspect", "--format", `{{.Id}} {{join .RepoDigests " "}}`}, sortedKeys(services)...)
	text, _, err := b.Docker.Run(ctx, args...)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue // built on this machine
		}
		for _, name := range services[fields[0]] {
			b.manifest.ImageDigests[name] = fields[1]
		}
	}
	return nil
}
