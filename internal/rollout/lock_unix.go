//go:build unix

package rollout

import (
	"os"
	"syscall"
)

// tryLock locks an open file until it is closed. It returns false if another process has locked it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}
