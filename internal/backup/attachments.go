package backup

import (
	"archive/tar"
	"errors"
	"hash/maphash"
	"io"
	"path"
	"strings"
)

// fileNames has the names of the files of an archive, as hashes: there may be millions.
type fileNames struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newFileNames() *fileNames {
	return &fileNames{maphash.MakeSeed(), make(map[uint64]struct{})}
}

// add adds a name, and what is left of it without its first directories: an application names its files relative to its own directory.
func (f *fileNames) add(name string) {
	for name = strings.TrimPrefix(path.Clean("/"+name), "/"); name != ""; {
		f.hashes[maphash.String(f.seed, name)] = struct{}{}
		_, rest, found := strings.Cut(name, "/")
		if !found {
			return
		}
		name = rest
	}
}

// has reports whether there is a file with the name.
func (f *fileNames) has(name string) bool {
	_, ok := f.hashes[maphash.String(f.seed, strings.TrimPrefix(path.Clean("/"+name), "/"))]
	return ok
}

// readTar adds the names of an archive, and reads it to its end.
func (f *fileNames) readTar(r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			f.add(header.Name)
		}
	}
}

// tee returns a writer that adds the names of the archive that is written to it. The caller closes it, and then has the names or the error.
func (f *fileNames) tee() (w *io.PipeWriter, wait func() error) {
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := f.readTar(reader)
		_ = reader.CloseWithError(err)
		done <- err
	}()
	return writer, func() error { return <-done }
}

// missingAttachments is the name of the inconsistency that attachments have no file.
const missingAttachments = "attachments without a file"

// attachmentColumns are the columns in which Corteza has the names of files, by table.
var attachmentColumns = []struct{ table, column string }{
	{"compose_attachment", "url"}, {"compose_attachment", "preview_url"}, {"attachments", "url"}, {"attachments", "preview_url"},
}

// readAttachments returns the names of files that Corteza's rows have, in the session's snapshot; none for other applications.
func readAttachments(session *client, d *Database) (names []string, err error) {
	for _, c := range attachmentColumns {
		if _, has := d.Tables["public."+c.table]; !has {
			continue
		}
		columns, err := queryCount(session, "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '"+c.table+"' AND column_name IN ('"+c.column+"', 'deleted_at');")
		if err != nil {
			return nil, err
		}
		if columns < 2 {
			continue
		}
		rows, err := session.query("SELECT " + c.column + " FROM " + c.table + " WHERE deleted_at IS NULL AND " + c.column + " <> '';")
		if err != nil {
			return nil, err
		}
		names = append(names, rows...)
	}
	return names, nil
}

// countMissing returns how many of the names have no file.
func (f *fileNames) countMissing(names []string) (n int64) {
	for _, name := range names {
		if !f.has(name) {
			n++
		}
	}
	return n
}
