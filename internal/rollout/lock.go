package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/filelock"
	"github.com/theworklabs/edge/internal/hint"
)

// lockServices locks the named services and their one-shot dependencies against other rollouts and restores on this machine, until unlock is
// called or this process ends. While a restore is not finished, only the edge can be locked.
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
	edge, err := s.lockEdge(engine, slices.Contains(names, s.edge.service))
	if err != nil {
		return nil, err
	}
	unlockAll, err := compose.LockServices(ctx, s.docker, s.Name, all)
	if err != nil {
		edge.Close()
		return nil, err
	}
	unlock = func() {
		unlockAll()
		edge.Close() // its file stays: others may share it
	}
	if slices.ContainsFunc(names, func(name string) bool { return name != s.edge.service }) {
		project := s.project
		project.Name = s.Name
		if err := compose.CheckNotRestoring(ctx, s.docker, project); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// lockEdge locks the edge: shared with other rollouts that ask it, or exclusively if it is replaced itself.
func (s *stack) lockEdge(engine string, isReplaced bool) (*os.File, error) {
	key := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSpace(engine), s.edge.project, s.edge.name, "edge"}, "\x00")))
	lock, other := filelock.Shared, "a rollout of the edge"
	if isReplaced {
		lock, other = filelock.Exclusive, "a rollout that asks the edge"
	}
	f, err := lock(filepath.Join(os.TempDir(), "edge-rollout-"+hex.EncodeToString(key[:8])+".lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the edge: %w", err)
	}
	if f == nil {
		return nil, hint.New(errors.New(other+" is under way"), "wait for its end")
	}
	return f, nil
}
