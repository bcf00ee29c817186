package backup

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
	"github.com/theworklabs/edge/internal/restic"
)

// NewHost creates a project on a machine that has nothing of it: from the location of its backups, and the recovery key. A NewHost runs once; if
// it is interrupted, another one goes on.
type NewHost struct {
	Docker Docker
	// Directory is where the project's files are written.
	Directory string
	// Project is the project's name. It may be empty if the repository has one project only.
	Project string
	// Settings say where the backups are, and what opens the repository.
	Settings *Settings
	// Set is the ID of a set or its beginning, or "latest".
	Set string
	// Edge, At, Logical, Queues and StartTimeout are those of [Restore].
	Edge         string
	At           time.Time
	Logical      bool
	Queues       bool
	StartTimeout time.Duration
	Out          io.Writer
	IsTerminal   bool

	progress   *progress
	repository *restic.Repository
}

// Run writes the project's files, creates its containers, restores all applications, and starts them.
func (n *NewHost) Run(ctx context.Context) error {
	n.progress = &progress{out: n.Out, isTerminal: n.IsTerminal}
	start := time.Now()
	program, err := findRestic(ctx, n.Docker, edge{image: cmp.Or(os.Getenv("EDGE_IMAGE"), "edge:dev")}) // as in compose.yaml: the project comes later
	if err != nil {
		return err
	}
	n.repository = n.Settings.repository(program, n.Settings.Repository)
	set, err := n.findSet(ctx)
	if err != nil {
		return err
	}
	manifest, err := loadManifest(ctx, n.repository, set)
	if err != nil {
		return err
	}
	project, err := n.writeFiles(ctx, manifest)
	if err != nil {
		return err
	}
	if err := n.createContainers(ctx, project); err != nil {
		return err
	}
	restore := &Restore{
		Docker: n.Docker, Project: project, Set: n.Set, Edge: n.Edge, At: n.At, Logical: n.Logical, Queues: n.Queues,
		Out: n.Out, IsTerminal: n.IsTerminal, StartTimeout: n.StartTimeout, override: n.Settings, isNewHost: true,
	}
	if err := restore.Run(ctx); err != nil {
		return err
	}
	n.progress.startStep("start the others")
	if _, _, err := n.Docker.Run(ctx, project.Args("up", "--detach", "--no-recreate")...); err != nil {
		return err
	}
	n.progress.finishStep("started all services")
	n.progress.printLine("the project %s is in %s, and runs (%.0fs)", project.Name, n.Directory, time.Since(start).Seconds())
	n.progress.printLine("next: let the DNS names of your sites lead to this machine, and run edge backup")
	return nil
}

// findSet returns the set of the application that has the project's files.
func (n *NewHost) findSet(ctx context.Context) (*Set, error) {
	snapshots, err := n.repository.Snapshots(ctx, tagEdge)
	if err != nil {
		return nil, err
	}
	var projects []string
	for _, s := range snapshots {
		if name := parseTags(s.Tags)[tagProject]; name != "" && !slices.Contains(projects, name) {
			projects = append(projects, name)
		}
	}
	slices.Sort(projects)
	switch {
	case len(projects) == 0:
		return nil, hint.New(errors.New("the repository has no backup of a project"), "is it the right one? restic snapshots shows what it has")
	case n.Project == "" && len(projects) > 1:
		return nil, hint.New(fmt.Errorf("the repository has several projects: %s", strings.Join(projects, ", ")), "name one with --project-name")
	case n.Project == "":
		n.Project = projects[0]
	case !slices.Contains(projects, n.Project):
		return nil, hint.New(fmt.Errorf("the repository has no backup of the project %s", n.Project), "it has "+strings.Join(projects, ", "))
	}
	snapshots = slices.DeleteFunc(snapshots, func(s restic.Snapshot) bool { return parseTags(s.Tags)[tagProject] != n.Project })
	sets := completeSets(groupSets(snapshots, n.Project))
	if n.Set != "latest" && !slices.ContainsFunc(sets, func(s *Set) bool { return strings.HasPrefix(s.ID, n.Set) }) {
		return nil, hint.New(fmt.Errorf("the repository has no set %s of the project %s", n.Set, n.Project),
			"restic snapshots --tag edge-backup,part=manifest.json lists them: the tag set=… has the ID")
	}
	sets = slices.DeleteFunc(sets, func(s *Set) bool {
		return s.App != EdgeApp || !n.At.IsZero() && s.Time.After(n.At)
	})
	if len(sets) == 0 {
		return nil, hint.New(fmt.Errorf("the repository has no set with the files of the project %s", n.Project), "edge backup stores them in the application "+EdgeApp)
	}
	// A set of some applications has none of this one; then its latest one is taken.
	for _, s := range slices.Backward(sets) {
		if n.Set == "latest" || strings.HasPrefix(s.ID, n.Set) || s.ID <= n.Set {
			return s, nil
		}
	}
	return sets[0], nil
}

// writeFiles writes the project's files, and returns the project. Files that are there already must be the same.
func (n *NewHost) writeFiles(ctx context.Context, m *Manifest) (compose.Project, error) {
	project := compose.Project{Name: n.Project, Directory: n.Directory}
	i := slices.IndexFunc(m.Parts, func(p Part) bool { return p.Name == projectFilesPart })
	if i < 0 {
		return project, fmt.Errorf("the set %s has no files of the project", m.Set)
	}
	if running, ok := compose.RunningProject(ctx, n.Docker, compose.Project{Name: n.Project}); ok && running.Directory != n.Directory {
		return project, hint.New(fmt.Errorf("this machine has the project %s in %s already", n.Project, running.Directory), "there, run edge restore without --new-host")
	}
	n.progress.startStep("write the project's files")
	var text bytes.Buffer
	if err := n.repository.Load(ctx, m.Parts[i].Snapshot, projectFilesPart, &text); err != nil {
		return project, err
	}
	if err := checkFiles(text.Bytes(), n.Directory); err != nil {
		return project, err
	}
	count, err := extractFiles(text.Bytes(), n.Directory)
	if err != nil {
		return project, err
	}
	if m.Layout != nil {
		project.Files, project.EnvFiles, project.Profiles = inDirectory(m.Layout.Files, n.Directory), inDirectory(m.Layout.EnvFiles, n.Directory), m.Layout.Profiles
	}
	n.progress.finishStep("wrote %d files to %s", count, n.Directory)
	return project, nil
}

func inDirectory(names []string, directory string) (paths []string) {
	for _, name := range names {
		paths = append(paths, absoluteIn(directory, name))
	}
	return paths
}

// eachFile calls f with each file of an archive of the project's files, and its path on this machine.
func eachFile(archive []byte, directory string, f func(path string, header *tar.Header, content []byte) error) error {
	for entries := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the project's files: %w", err)
		}
		if !filepath.IsAbs(header.Name) && !filepath.IsLocal(header.Name) {
			return fmt.Errorf("the project's files have the name %q", header.Name)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			return fmt.Errorf("read the project's files: %w", err)
		}
		if err := f(absoluteIn(directory, header.Name), header, content); err != nil {
			return err
		}
	}
}

// checkFiles returns an error if one of the files of the project's directory is there already, and is another one.
func checkFiles(archive []byte, directory string) error {
	var others []string
	err := eachFile(archive, directory, func(path string, _ *tar.Header, content []byte) error {
		present, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || !isInside(path, directory) { // this machine's own files stay
			return nil
		}
		if err == nil && !bytes.Equal(present, content) {
			others = append(others, path)
		}
		return err
	})
	if err == nil && len(others) > 0 {
		err = hint.New(fmt.Errorf("other files are there already: %s", strings.Join(others, ", ")), "move them away, or run it in an empty directory")
	}
	return err
}

// extractFiles writes the files. Those outside of the project's directory that are there already, such as /etc/localtime, are this machine's own.
func extractFiles(archive []byte, directory string) (count int, err error) {
	created := make(map[string]bool) // directories
	err = eachFile(archive, directory, func(path string, header *tar.Header, content []byte) error {
		if _, err := os.Lstat(path); err == nil && !isInside(path, directory) {
			return nil
		}
		count++
		parent := filepath.Dir(path)
		if _, err := os.Lstat(parent); errors.Is(err, fs.ErrNotExist) {
			created[parent] = true
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		// The key's own mode may let everybody read it.
		if created[parent] && bytes.Contains(content, []byte("PRIVATE KEY-----")) {
			if err := os.Chmod(parent, 0o700); err != nil {
				return err
			}
		}
		mode := header.FileInfo().Mode().Perm()
		if err := os.WriteFile(path, content, mode); err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, header.Uid, header.Gid); err != nil {
				return err
			}
		}
		return os.Chmod(path, mode) // the umask may have taken something away
	})
	return count, err
}

// createContainers creates all containers and volumes of the project, with images that Compose pulls or builds.
func (n *NewHost) createContainers(ctx context.Context, project compose.Project) error {
	n.progress.startStep("create the containers")
	if _, _, err := n.Docker.Run(ctx, project.Args("up", "--no-start", "--no-recreate")...); err != nil {
		return hint.New(err, "are the images to be had here? docker compose pull")
	}
	n.progress.finishStep("created the containers")
	return nil
}
