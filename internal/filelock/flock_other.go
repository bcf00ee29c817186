//go:build !unix

package filelock

import (
	"errors"
	"os"
)

// tryLock returns an error: this system has no flock.
func tryLock(*os.File) (bool, error) {
	return false, errors.New("a rollout can't be locked against another one on this system; run it on Linux or macOS")
}

// tryLockShared returns an error, too.
func tryLockShared(f *os.File) (bool, error) { return tryLock(f) }
