//go:build !unix

package rollout

import (
	"errors"
	"os"
)

// tryLock can lock nothing here.
func tryLock(*os.File) (bool, error) {
	return false, errors.New("a rollout can't be locked against another one on this system; run it on Linux or macOS")
}
