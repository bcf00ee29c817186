//go:build !unix

package rollout

import (
	"errors"
	"os"
	"os/exec"
)

// interruptAsGroup leaves the command as it is.
func interruptAsGroup(*exec.Cmd) (ended func()) { return func() {} }

func tryLock(*os.File) (bool, error) {
	return false, errors.New("a rollout can't be locked against another one on this system; run it on Linux or macOS")
}
