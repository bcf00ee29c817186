package backup

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
)

// firstFiles are files that were copied before the others of a directory.
type firstFiles struct {
	content  *os.File // a tar archive
	relative string   // where they are in the directory
}

// copyFirst copies a directory of a container to a file, which is gone when it is closed. It returns nil if there is no such directory yet.
func (c *container) copyFirst(ctx context.Context, directory, relative string) (*firstFiles, error) {
	content, err := os.CreateTemp("", "edge-backup-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(content.Name())
	if err == nil {
		err = c.copyOut(ctx, directory, content)
	}
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = content.Close()
		if strings.Contains(err.Error(), "Could not find the file") {
			return nil, nil
		}
		return nil, err
	}
	return &firstFiles{content, relative}, nil
}

// appendTo adds the files to an archive of the directory. A nil firstFiles has none.
func (f *firstFiles) appendTo(to *tar.Writer) error {
	if f == nil {
		return nil
	}
	from := tar.NewReader(f.content)
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		isDirectory := strings.HasSuffix(header.Name, "/")
		if header.Name = path.Join(f.relative, header.Name); isDirectory {
			header.Name += "/"
		}
		if header.Typeflag == tar.TypeLink {
			header.Linkname = path.Join(f.relative, header.Linkname)
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}
