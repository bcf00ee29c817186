// Package filelock locks files against other processes on this machine.
package filelock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Exclusive locks a file, and creates it if it does not exist. It returns nil if another process has locked it. The lock ends when the file is closed, or the process ends;
// the file may be removed before.
func Exclusive(name string) (*os.File, error) { return lock(name, tryLock) }

// Shared is [Exclusive] beside others that lock the file so.
func Shared(name string) (*os.File, error) { return lock(name, tryLockShared) }

func lock(name string, try func(*os.File) (bool, error)) (*os.File, error) {
	for range 100 {
		// First without O_CREATE: in a sticky directory like /tmp, Linux may refuse it for a file of another user
		// (fs.protected_regular).
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = os.OpenFile(name, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o644)
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		isLocked, err := try(f)
		if err != nil || !isLocked {
			return nil, errors.Join(err, f.Close())
		}
		if isSameFile(f, name) {
			return f, nil
		}
		f.Close() // the process that had locked it has removed it
	}
	return nil, fmt.Errorf("%s is a link, or is removed all the time", name)
}

// isSameFile reports whether an open file still has the name.
func isSameFile(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	current, err := os.Lstat(name)
	return err == nil && os.SameFile(opened, current)
}
