package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// checkEdgeSet reads the set with the edge's own data and the project's files, and looks for what a new host needs of it.
func (r *restoreRun) checkEdgeSet(ctx context.Context, s *Set) error {
	m, err := loadManifest(ctx, r.repository, s)
	if err != nil {
		return err
	}
	r.progress.startStep("check the files of the project")
	for _, p := range m.Parts {
		names := make(map[string]bool)
		err := r.pipe(ctx, p, func(_ context.Context, stdin io.Reader) error {
			if p.Format != FormatTar {
				_, err := io.Copy(io.Discard, stdin)
				return err
			}
			return readNames(stdin, names)
		})
		if err != nil {
			return err
		}
		if p.Name != projectFilesPart || m.Layout == nil {
			continue
		}
		for _, name := range slices.Concat(m.Layout.Files, m.Layout.EnvFiles) {
			if !names[name] {
				return fmt.Errorf("%s has no %s", p.Name, name)
			}
		}
		if len(m.Layout.Files) == 0 && !slices.ContainsFunc(defaultComposeFiles, func(name string) bool { return names[name] }) {
			return fmt.Errorf("%s has no compose file", p.Name)
		}
	}
	if m.Layout == nil {
		return errors.New("it does not say which compose files there are")
	}
	r.progress.finishStep("checked the files of the project")
	return nil
}

// readNames reads an archive to its end, and notes the names that it has.
func readNames(archive io.Reader, names map[string]bool) error {
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, archive) // what follows the end counts for the checksum
			return err
		}
		if err != nil {
			return err
		}
		names[header.Name] = true
	}
}
