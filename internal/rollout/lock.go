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

	"github.com/theworklabs/edge/internal/hint"
)

// lockServices locks the named services and their one-shot dependencies against other rollouts on this machine, until unlock is
// called or this process ends.
func (s *stack) lockServices(ctx context.Context, names []string) (unlock func(), err error) {
	engine, _, err := s.docker.Run(ctx, "info", "--format", "{{.ID}}")
	if err != nil {
		return nil, err
	}
	all := slices.Clone(names)
	for _, name := range names {
		for _, dependency := range oneShotDependencies(s.Stack, name) {
			if !slices.Contains(all, dependency) {
				all = append(all, dependency)
			}
		}
	}
	var locked []*os.File
	unlock = func() {
		for _, f := range locked {
			if f != locked[0] { // others may share that of the edge
				os.Remove(f.Name()) // before it is unlocked: see isSameFile
			}
			f.Close()
		}
	}
	edge, err := s.lockEdge(engine, slices.Contains(names, s.edge.service))
	if err != nil {
		return nil, err
	}
	locked = append(locked, edge)
	for _, name := range all {
		key := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSpace(engine), s.Name, name}, "\x00")))
		f, err := lockFile(filepath.Join(os.TempDir(), "edge-rollout-"+hex.EncodeToString(key[:8])+".lock"), tryLock)
		if err != nil {
			unlock()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if f == nil {
			unlock()
			return nil, hint.New(
				fmt.Errorf("another rollout of %s is under way", name), "wait for its end",
			)
		}
		locked = append(locked, f)
	}
	return unlock, nil
}

// lockEdge locks the edge: shared with other rollouts that ask it, or exclusively if it is replaced itself.
func (s *stack) lockEdge(engine string, isReplaced bool) (*os.File, error) {
	key := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSpace(engine), s.edge.project, s.edge.name, "edge"}, "\x00")))
	try, other := tryLockShared, "a rollout of the edge"
	if isReplaced {
		try, other = tryLock, "a rollout that asks the edge"
	}
	f, err := lockFile(filepath.Join(os.TempDir(), "edge-rollout-"+hex.EncodeToString(key[:8])+".lock"), try)
	if err != nil {
		return nil, fmt.Errorf("lock the edge: %w", err)
	}
	if f == nil {
		return nil, hint.New(errors.New(other+" is under way"), "wait for its end")
	}
	return f, nil
}

// lockFile locks a file by try, and creates it if it does not exist. It returns nil if another process has locked it.
func lockFile(name string, try func(*os.File) (bool, error)) (*os.File, error) {
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
