package deploy

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/hint"
)

// lock keeps other deployments of a project from running, until unlock is called. It locks the project's directory itself, so that no file is left behind.
func lock(directory string) (unlock func(), err error) {
	d, err := os.Open(directory)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hint.New(fmt.Errorf("another deployment in %s is under way", directory), "wait for its end")
		}
		return nil, fmt.Errorf("lock %s: %w", directory, err)
	}
	return func() { _ = d.Close() }, nil
}
