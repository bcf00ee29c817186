package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	return b.save(ctx, part, func(ctx context.Context, w io.Writer) error {
		held := &heldEnd{w: w, n: redisMarkSize}
		stderr, err := c.run(ctx, nil, held, login+"redis-cli --rdb -")
		if err != nil || strings.Contains(stderr, "until EOF marker") {
			return err
		}
		return held.flush()
	})
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

// backUpMongo stores a dump of all databases.
func (b *appBackup) backUpMongo(ctx context.Context, source Source) error {
	c, err := b.container(ctx, source.Service)
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
	c, err := b.container(ctx, source.Service)
	if err != nil {
		return err
	}
	for i, path := range source.Paths {
		part := Part{Name: source.Service + "-files.tar", Service: source.Service, Kind: Files, Format: FormatTar, Path: path}
		if i > 0 {
			part.Name = fmt.Sprintf("%s-files-%d.tar", source.Service, i+1)
		}
		if err := b.save(ctx, part, func(ctx context.Context, w io.Writer) error { return b.copyFiles(ctx, c, path, w) }); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles writes a directory of a container to w, as an archive, and notes the names of its files.
func (b *appBackup) copyFiles(ctx context.Context, c *container, path string, w io.Writer) error {
	names, wait := b.files.tee()
	err := c.copyOut(ctx, path, io.MultiWriter(w, names))
	_ = names.CloseWithError(err)
	return errors.Join(err, wait())
}

// countMissingAttachments notes in the manifest how many attachments of a database have no file.
func (b *appBackup) countMissingAttachments() {
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
	files, err := projectFiles(b.stack, b.project)
	if err != nil {
		return err
	}
	part := Part{Name: projectFilesPart, Kind: Files, Format: FormatTar}
	return b.save(ctx, part, func(_ context.Context, w io.Writer) error { return writeTar(w, b.project.Directory, files) })
}

// projectFiles returns the absolute paths of the files without which the project does not start on another machine: compose files,
// variables, configs, secrets, and files that services mount.
func projectFiles(stack *compose.Stack, project compose.Project) ([]string, error) {
	all := slices.Concat(project.Files, project.EnvFiles, []string{".env", settingsFile})
	for _, objects := range []map[string]compose.FileObject{stack.Configs, stack.Secrets} {
		for _, o := range objects {
			all = append(all, o.File)
		}
	}
	for _, service := range stack.Services {
		for _, m := range service.Volumes {
			if m.Type == "bind" && (m.ReadOnly || !isDirectory(m.Source)) { // others have data: see [Files]
				all = append(all, m.Source)
			}
		}
	}
	var files []string
	for _, name := range all {
		if name == "" {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(project.Directory, name)
		}
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && !strings.HasPrefix(name, project.Directory):
			continue
		case err != nil:
			return nil, err
		case info.Mode().IsRegular():
			files = append(files, name)
		case info.IsDir() && strings.HasPrefix(name, project.Directory+string(filepath.Separator)): // such as sites/ with parts of a Caddyfile
			inside, err := regularFiles(name)
			if err != nil {
				return nil, err
			}
			files = append(files, inside...)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
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
	header.Name = file
	if relative, err := filepath.Rel(directory, file); err == nil && filepath.IsLocal(relative) {
		header.Name = relative
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, io.LimitReader(f, header.Size)) // it may grow meanwhile
	return err
}
