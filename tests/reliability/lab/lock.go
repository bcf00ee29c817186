// Package lab has the parts of the suite's lab: a DNS server that gives wrong answers, a log of the requests that arrive, the memory of
// containers, and a lock for each run.
package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock reserves a Compose project for this process until the file is closed. It returns an error if another process has reserved it.
func Lock(project string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), project+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock project %s: %w", project, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("project %s is in use by another run (%s): %w", project, file.Name(), err)
	}
	return file, nil
}
