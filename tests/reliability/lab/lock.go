package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock keeps the project to this process until Unlock, or until the process ends. It is an error if another one has it.
func (p *Project) Lock() error {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), p.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock project %s: %w", p.Name, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("project %s is in use by another run (%s): %w", p.Name, file.Name(), err)
	}
	p.lock = file
	return nil
}

// Locked reports whether this process has the project.
func (p *Project) Locked() bool { return p.lock != nil }

// Unlock gives the project back.
func (p *Project) Unlock() {
	p.lock.Close()
	p.lock = nil
}
