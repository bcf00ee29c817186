package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

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
	text, _, err := b.Docker.Run(ctx, append([]string{"image", "inspect"}, sortedKeys(services)...)...)
	if err != nil {
		return err
	}
	var images []struct {
		ID          string `json:"Id"`
		RepoDigests []string
	}
	if err := json.Unmarshal([]byte(text), &images); err != nil {
		return fmt.Errorf("read the output of `docker image inspect`: %w", err)
	}
	for _, image := range images {
		if len(image.RepoDigests) == 0 {
			continue // built on this machine
		}
		for _, name := range services[image.ID] {
			b.manifest.ImageDigests[name] = image.RepoDigests[0]
		}
	}
	return nil
}
