package volume

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Extract writes the content of a tar archive to the staged directory, with owners, modes and times. Nothing is written outside of it,
// whatever names and links the archive has. Owners are set only by root.
func (v *Volume) Extract(archive io.Reader) error {
	root, err := os.OpenRoot(v.StagedDir())
	if err != nil {
		return err
	}
	defer root.Close()
	var directories []*tar.Header // their times change while files are written to them
	for entries := tar.NewReader(archive); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if header.Name = path.Clean(strings.TrimPrefix(header.Name, "/")); strings.HasPrefix(header.Name, prefix) {
			continue // of a restore that was under way during the backup
		}
		if err := extractEntry(root, header, entries); err != nil {
			return fmt.Errorf("extract %s: %w", header.Name, err)
		}
		if header.Typeflag == tar.TypeDir {
			directories = append(directories, header)
		}
	}
	for _, header := range directories {
		if err := root.Chtimes(header.Name, time.Time{}, header.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func extractEntry(root *os.Root, header *tar.Header, content io.Reader) error {
	mode := header.FileInfo().Mode()
	if header.Typeflag != tar.TypeDir {
		if err := root.Remove(header.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(header.Name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		if err := extractFile(root, header, content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Symlink(header.Linkname, header.Name); err != nil {
			return err
		}
	case tar.TypeLink:
		return root.Link(path.Clean(strings.TrimPrefix(header.Linkname, "/")), header.Name)
	case tar.TypeFifo:
		return mkfifo(root, header)
	default: // sockets and devices are made by those who use them
		return nil
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(header.Name, header.Uid, header.Gid); err != nil {
			return err
		}
	}
	if header.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := root.Chmod(header.Name, mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return root.Chtimes(header.Name, time.Time{}, header.ModTime)
}

func extractFile(root *os.Root, header *tar.Header, content io.Reader) error {
	f, err := root.OpenFile(header.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func mkfifo(root *os.Root, header *tar.Header) error {
	parent, err := root.Open(path.Dir(header.Name))
	if err != nil {
		return err
	}
	defer parent.Close()
	return unix.Mkfifoat(int(parent.Fd()), path.Base(header.Name), uint32(header.FileInfo().Mode().Perm()))
}

// syncTree writes all of a directory's file system to the disk: the renames that follow must not come before the data.
func syncTree(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	err = unix.Syncfs(int(d.Fd()))
	if errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}
