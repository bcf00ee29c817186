package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
)

// backUpRedis stores a snapshot of Redis, as a replica gets it.
func (b *appBackup) backUpRedis(ctx context.Context, source Source) error {
	c, err := b.container(ctx, source.Service)
	if err != nil {
		return err
	}
	const login = `
if [ -n "${REDIS_PASSWORD:-}" ]; then export REDISCLI_AUTH="$REDIS_PASSWORD"; fi
`
	var directory strings.Builder
	if _, err := c.run(ctx, nil, &directory, login+"redis-cli --raw CONFIG GET dir | tail -n 1"); err != nil {
		return err
	}
	part := Part{
		Name: source.Service + ".rdb", Service: source.Service, Kind: Redis, Format: FormatRDB, Path: strings.TrimSpace(directory.String()),
	}
	var appendOnly strings.Builder
	if _, err := c.run(ctx, nil, &appendOnly, login+"for name in appendonly appenddirname appendfilename; do redis-cli --raw CONFIG GET $name; done"); err != nil {
		return err
	}
	part.AppendOnly = appendOnlyFile(appendOnly.String())
	return b.save(ctx, part, func(ctx context.Context, w io.Writer) error {
		held := &heldEnd{w: w, n: redisMarkSize}
		stderr, err := c.run(ctx, nil, held, login+"redis-cli --rdb -")
		if err != nil || strings.Contains(stderr, "until EOF marker") {
			return err
		}
		return held.flush()
	})
}

// appendOnlyFile returns the path of the append-only file relative to the directory of Redis, from the answers of CONFIG GET; "" if Redis has none.
// Since version 7, it is a directory with several files.
func appendOnlyFile(answers string) string {
	settings := make(map[string]string)
	words := strings.Split(strings.TrimSpace(answers), "\n")
	for i := 0; i+1 < len(words); i += 2 {
		settings[words[i]] = words[i+1]
	}
	if settings["appendonly"] != "yes" {
		return ""
	}
	return path.Join(settings["appenddirname"], settings["appendfilename"])
}

// redisMarkSize is the length of the mark that Redis sends after a snapshot whose size it does not know before. redis-cli removes it from
// files, and leaves it in a stream.
const redisMarkSize = 40

// heldEnd writes to w all but the last n bytes.
type heldEnd struct {
	w    io.Writer
	n    int
	held []byte
}

// Write implements io.Writer.
func (h *heldEnd) Write(b []byte) (int, error) {
	h.held = append(h.held, b...)
	if extra := len(h.held) - h.n; extra > 0 {
		if _, err := h.w.Write(h.held[:extra]); err != nil {
			return 0, err
		}
		h.held = append(h.held[:0], h.held[extra:]...)
	}
	return len(b), nil
}

// flush writes the last bytes, too.
func (h *heldEnd) flush() error {
	_, err := h.w.Write(h.held)
	return err
}

// backUpMongo stores a dump of all databases, if the server runs: BigCapital's is for an older version, and does not always.
func (b *appBackup) backUpMongo(ctx context.Context, source Source) error {
	c, err := b.container(ctx, source.Service)
	if errors.Is(err, errNotRunning) {
		b.manifest.Warnings = append(b.manifest.Warnings, err.Error()+": its data is not stored")
		return nil
	}
	if err != nil {
		return err
	}
	part := Part{Name: source.Service + ".mongodump", Service: source.Service, Kind: Mongo, Format: FormatMongoDump}
	_, err = b.saveScript(ctx, c, part, `
if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ]; then
	printf 'password: "%s"\n' "$MONGO_INITDB_ROOT_PASSWORD" | mongodump --archive --gzip --username "$MONGO_INITDB_ROOT_USERNAME" --authenticationDatabase admin --config /dev/stdin
else
	mongodump --archive --gzip
fi`)
	return err
}

// backUpFiles stores the service's volumes.
func (b *appBackup) backUpFiles(ctx context.Context, source Source) error {
	c, err := findFiles(ctx, b.Docker, b.stack.Name, source.Service)
	if err != nil {
		return err
	}
	b.manifest.Images[source.Service] = c.Image
	for i, directory := range source.Paths {
		part := Part{Name: source.Service + "-files.tar", Service: source.Service, Kind: Files, Format: FormatTar, Path: directory}
		if i > 0 {
			part.Name = fmt.Sprintf("%s-files-%d.tar", source.Service, i+1)
		}
		if err := b.save(ctx, part, func(ctx context.Context, w io.Writer) error { return b.copyFiles(ctx, c, directory, source, w) }); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles writes a directory of a container to w, as an archive, and notes the names of its files. The volumes that are mounted inside of it
// have archives of their own.
func (b *appBackup) copyFiles(ctx context.Context, c *container, directory string, source Source, w io.Writer) (err error) {
	names, waitForNames := b.files.tee()
	var inside []string
	for _, other := range source.Paths {
		if relative, found := relativeIn(directory, other); found {
			inside = append(inside, relative)
		}
	}
	var first *firstFiles
	isInNested := slices.ContainsFunc(inside, func(nested string) bool { return isInside(source.First, path.Join(directory, nested)) })
	if relative, found := relativeIn(directory, source.First); found && !isInNested {
		if first, err = c.copyFirst(ctx, source.First, relative); err != nil {
			return fmt.Errorf("copy %s: %w", source.First, err)
		}
		if first != nil {
			defer func() { err = errors.Join(err, first.content.Close()) }()
			inside = append(inside, relative)
		}
	}
	output, waitForOutput := withoutDirectories(io.MultiWriter(w, names), inside, first)
	err = c.copyOut(ctx, directory, output)
	_ = output.CloseWithError(err)
	err = errors.Join(err, waitForOutput())
	_ = names.CloseWithError(err)
	return errors.Join(err, waitForNames())
}

// relativeIn returns a path relative to a directory that it is inside of.
func relativeIn(directory, name string) (relative string, found bool) {
	return strings.CutPrefix(name, strings.TrimSuffix(directory, "/")+"/")
}

// withoutDirectories returns a writer that passes a tar archive on to w, without what is inside of some directories, and with those files that were copied first, which may be nil. The caller
// closes it, and then waits for the end or an error.
func withoutDirectories(w io.Writer, directories []string, first *firstFiles) (filter *io.PipeWriter, wait func() error) {
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		var err error
		if len(directories) == 0 { // byte by byte
			_, err = io.Copy(w, reader)
		} else {
			err = filterTar(w, reader, func(name string) bool {
				return !slices.ContainsFunc(directories, func(d string) bool { return strings.HasPrefix(name, d+"/") })
			}, first)
		}
		_ = reader.CloseWithError(err)
		done <- err
	}()
	return writer, func() error { return <-done }
}

// filterTar copies those entries of an archive whose names are wanted, and then the files that were copied first.
func filterTar(w io.Writer, r io.Reader, isWanted func(name string) bool, first *firstFiles) error {
	from, to := tar.NewReader(r), tar.NewWriter(w)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // what follows the end of the archive
			return errors.Join(err, first.appendTo(to), to.Close())
		}
		if err != nil {
			return err
		}
		if !isWanted(path.Clean(header.Name)) {
			continue
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}

// countMissingAttachments notes in the manifest how many attachments of a database have no file.
func (b *appBackup) countMissingAttachments() {
	if !slices.ContainsFunc(b.app.Sources, func(s Source) bool { return s.Kind == Files }) {
		return // the files are on another machine
	}
	for i := range b.manifest.Databases {
		d := &b.manifest.Databases[i]
		if n := b.files.countMissing(d.attachments); n > 0 {
			d.Inconsistencies[missingAttachments] = n
			b.manifest.Warnings = append(b.manifest.Warnings, fmt.Sprintf("%s: %d attachments have no file", d.Service, n))
		}
	}
}

// projectFilesPart is the name of the part with the project's files.
const projectFilesPart = "project-files.tar"

// backUpProjectFiles stores the project's own files. Those in its directory have their names relative to it, others their absolute path.
func (b *appBackup) backUpProjectFiles(ctx context.Context) error {
	files, warnings, err := projectFiles(b.stack, b.project)
	if err != nil {
		return err
	}
	b.manifest.Warnings = append(b.manifest.Warnings, warnings...)
	b.manifest.Layout = &Layout{
		Files: relativeTo(b.project.Directory, b.project.Files), EnvFiles: relativeTo(b.project.Directory, b.project.EnvFiles), Profiles: b.project.Profiles,
	}
	part := Part{Name: projectFilesPart, Kind: Files, Format: FormatTar}
	return b.save(ctx, part, func(_ context.Context, w io.Writer) error { return writeTar(w, b.project.Directory, files) })
}

// projectFiles returns the absolute paths of the files without which the project does not start on another machine: compose files and what they
// include, variables, configs, secrets, and files that services mount.
func projectFiles(stack *compose.Stack, project compose.Project) (files, warnings []string, err error) {
	composeFiles := project.Files
	if len(composeFiles) == 0 {
		composeFiles = defaultComposeFiles
	}
	named, err := findReferences(project.Directory, composeFiles)
	if err != nil {
		return nil, nil, err
	}
	warnings = named.warnings
	all := slices.Concat(named.files, project.EnvFiles, []string{".env", settingsFile})
	for _, objects := range []map[string]compose.FileObject{stack.Configs, stack.Secrets} {
		for _, o := range objects {
			all = append(all, o.File)
		}
	}
	for _, name := range stack.ServiceNames() {
		for _, m := range stack.Services[name].Volumes {
			if m.Type == "bind" && (m.ReadOnly || !isDirectory(m.Source)) { // others have data: see [Files]
				all = append(all, m.Source)
			}
		}
	}
	for _, name := range all {
		if name == "" {
			continue
		}
		found, warning, err := filesOf(project.Directory, absoluteIn(project.Directory, name))
		if err != nil {
			return nil, nil, err
		}
		files = append(files, found...)
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	slices.Sort(files)
	slices.Sort(warnings)
	return slices.Compact(files), slices.Compact(warnings), nil
}

// systemDirectories are those of the machine itself, which services look at.
var systemDirectories = []string{"/", "/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/usr", "/lib", "/boot", "/var/lib/docker", "/var/log"}

// filesOf returns the regular files of a path: itself, or what is in it. A directory outside of the project's may have anything, so it is not
// read.
func filesOf(project, name string) (files []string, warning string, err error) {
	isOutside := !isInside(name, project)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	case errors.Is(err, fs.ErrPermission) && isOutside:
		return nil, name + " is not stored: it cannot be read", nil
	case err != nil:
		return nil, "", err
	case info.Mode().IsRegular():
		return []string{name}, "", nil
	case info.IsDir() && !isOutside: // such as sites/ with parts of a Caddyfile
		files, err = regularFiles(name)
		return files, "", err
	case info.IsDir() && !slices.ContainsFunc(systemDirectories, func(d string) bool { return name == d || d != "/" && isInside(name, d) }):
		return nil, name + ", which a service mounts to read, is not stored: it is a directory outside of the project's", nil
	}
	return nil, "", nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// regularFiles returns the files in a directory and those below it.
func regularFiles(directory string) (files []string, err error) {
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// writeTar writes an archive of files.
func writeTar(w io.Writer, directory string, files []string) error {
	archive := tar.NewWriter(w)
	for _, file := range files {
		if err := addFile(archive, directory, file); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
	}
	return archive.Close()
}

// relativeTo returns names relative to a directory. Those of files outside of it are absolute.
func relativeTo(directory string, names []string) (relative []string) {
	for _, name := range names {
		if inside, err := filepath.Rel(directory, absoluteIn(directory, name)); err == nil && filepath.IsLocal(inside) {
			name = inside
		}
		relative = append(relative, name)
	}
	return relative
}

func addFile(archive *tar.Writer, directory, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name = relativeTo(directory, []string{file})[0]
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, io.LimitReader(f, header.Size)) // it may grow meanwhile
	return err
}
