package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lockServices keeps other rollouts on this machine away from the named services and from those that have to run before them,
// until unlock or the end of this process.
func (s *stack) lockServices(ctx context.Context, names []string) (unlock func(), err error) {
	engine, _, err := s.docker.Run(ctx, "info", "--format", "{{.ID}}")
	if err != nil {
		return nil, err
	}
	all := slices.Clone(names)
	for _, name := range names {
		for _, one := range oneShotDependencies(s.services, name) {
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	var locked []*os.File
	unlock = func() {
		for _, f := range locked {
			os.Remove(f.Name()) // while it is locked: who has opened it already will see that it is another's
			f.Close()
		}
	}
	for _, name := range all {
		key := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSpace(engine), s.projectName, name}, "\x00")))
		f, err := lockFile(filepath.Join(os.TempDir(), "edge-rollout-"+hex.EncodeToString(key[:8])+".lock"))
		if err != nil {
			unlock()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if f == nil {
			unlock()
			return nil, &HintError{
				fmt.Errorf("another rollout of %s is under way", name), "wait for its end",
			}
		}
		locked = append(locked, f)
	}
	return unlock, nil
}

// lockFile locks the file of a name, and makes it if there is none. It returns nil if another process has it.
func lockFile(name string) (*os.File, error) {
	for range 100 {
		// First without making it: a file of another user in a directory like /tmp can't be opened to be made.
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
		mine, err := tryLock(f)
		if err != nil || !mine {
			return nil, errors.Join(err, f.Close())
		}
		if isSameFile(f, name) {
			return f, nil
		}
		f.Close() // its owner has removed it in between
	}
	return nil, fmt.Errorf("%s is a link, or is removed all the time", name)
}

func isSameFile(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(name)
	return err == nil && os.SameFile(opened, now)
}
