package compose

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/theworklabs/edge/internal/filelock"
	"github.com/theworklabs/edge/internal/hint"
)

// LockServices locks services of a project against rollouts and restores on this machine, until unlock is called or this process ends.
func LockServices(ctx context.Context, docker Docker, project string, services []string) (unlock func(), err error) {
	engine, _, err := docker.Run(ctx, "info", "--format", "{{.ID}}")
	if err != nil {
		return nil, err
	}
	var locked []*os.File
	unlock = func() {
		for _, f := range locked {
			os.Remove(f.Name()) // before it is unlocked, so that another process notices
			f.Close()
		}
	}
	for _, service := range services {
		key := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSpace(engine), project, service}, "\x00")))
		f, err := filelock.Exclusive(filepath.Join(os.TempDir(), "edge-rollout-"+hex.EncodeToString(key[:8])+".lock"))
		switch {
		case err != nil:
			unlock()
			return nil, fmt.Errorf("lock %s: %w", service, err)
		case f == nil:
			unlock()
			return nil, hint.New(fmt.Errorf("another rollout of %s is under way, or a restore or a cleanup", service), "wait for its end")
		}
		locked = append(locked, f)
	}
	return unlock, nil
}

// RestoreJournal is a file in a project's directory while a restore of its data is not finished. Until it is, only the restore may start containers: what they would find may
// be half of the data.
const RestoreJournal = ".edge-restore.json"

// CheckNotRestoring returns an error while a restore of a project's data is not finished. The caller has locked the services, so that none begins after that. p has the
// project's name.
func CheckNotRestoring(ctx context.Context, docker Docker, p Project) error {
	running, _ := RunningProject(ctx, docker, p)
	_, err := os.Lstat(filepath.Join(cmp.Or(running.Directory, "."), RestoreJournal))
	if err == nil {
		return hint.New(errors.New("a restore of the project's data is not finished"), "edge restore latest")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
