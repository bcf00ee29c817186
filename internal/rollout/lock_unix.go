//go:build unix

package rollout

import (
	"os"
	"syscall"
)

// tryLock locks an open file for this process, until it is closed. It reports whether nobody else has.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}
