package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

// ErrBusy says that another backup, restore or drill of the project runs on this machine.
var ErrBusy = errors.New("another backup, restore or drill is under way")

// lockProject keeps other backups, restores and drills of a project from running on this machine, until unlock is called or the process
// ends.
func lockProject(project string) (unlock func(), err error) {
	key := sha256.Sum256([]byte(project))
	name := filepath.Join(os.TempDir(), "edge-backup-"+hex.EncodeToString(key[:8])+".lock")
	f, err := os.Open(name) // without O_CREATE: see fs.protected_regular
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hint.New(fmt.Errorf("%s: %w", project, ErrBusy), "wait for its end")
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}

// awaitProject is [lockProject], which waits until another run has ended: a drill each week must not be lost because a backup is slow.
func (s *session) awaitProject(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	deadline := time.Now().Add(wait)
	for first := true; ; first = false {
		unlock, err := lockProject(s.stack.Name)
		if !errors.Is(err, ErrBusy) || wait == 0 {
			return unlock, err
		}
		if time.Now().After(deadline) {
			return nil, hint.New(fmt.Errorf("%s: %w, still after %v", s.stack.Name, ErrBusy, wait), "see what it does: ps -ef | grep edge")
		}
		if first {
			s.progress.printLine("another backup, restore or drill is under way: waits for its end")
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// lockPoll is how often a lock is tried.
const lockPoll = time.Second

// defaultMigrationTimeout is longer than the migrations of an application with many tenants.
const defaultMigrationTimeout = 10 * time.Minute

// migrationPoll is how often a running migration is looked at.
const migrationPoll = time.Second

// awaitMigrations waits until no service runs that others wait for to complete, such as a database migration: a dump in the middle of one
// has half of its changes.
func (b *Backup) awaitMigrations(ctx context.Context) error {
	timeout := b.MigrationTimeout
	if timeout == 0 {
		timeout = defaultMigrationTimeout
	}
	deadline := time.Now().Add(timeout)
	for {
		running, err := b.runningMigrations(ctx)
		if err != nil || len(running) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return hint.New(
				fmt.Errorf("%s still runs after %v: a backup in the middle of a migration has half of its changes", strings.Join(running, ", "), timeout),
				"see its log: docker compose logs "+running[0],
			)
		}
		b.progress.startStep("wait for %s", strings.Join(running, ", "))
		select {
		case <-time.After(migrationPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// runningMigrations returns the one-shot services that run, sorted.
func (b *Backup) runningMigrations(ctx context.Context) (running []string, err error) {
	var names []string
	for _, service := range b.stack.Services {
		for name, dependency := range service.DependsOn {
			if dependency.IsOneShot() && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		all, err := compose.Containers(ctx, b.Docker, b.stack.Name, name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, compose.Container.IsUp) {
			running = append(running, name)
		}
	}
	return running, nil
}

// minFreeSpace is what a repository on this machine needs in any case.
const minFreeSpace = 256 << 20

// checkSpace returns an error if a repository on this machine cannot be written to, or has less space than the last backup added.
func (b *Backup) checkSpace(sets []*Set) error {
	if !filepath.IsAbs(b.settings.Repository) {
		return nil
	}
	if err := checkWritable(b.settings.Repository); err != nil {
		return err
	}
	free, err := freeSpace(b.settings.Repository)
	if err != nil {
		return err
	}
	needed, last := int64(minFreeSpace), int64(0)
	for _, s := range completeSets(sets) {
		if s.ID == sets[len(sets)-1].ID {
			last += s.Added
		}
	}
	if needed = max(needed, last); free < needed {
		return hint.New(
			fmt.Errorf("the repository's disk has %s left, and a backup needs about %s", FormatBytes(free), FormatBytes(needed)),
			"make space there, or keep fewer sets (x-edge-backup: keep)",
		)
	}
	return nil
}

// checkWritable returns an error if a repository on this machine takes no data. restic would try again and again.
func checkWritable(location string) error {
	if !filepath.IsAbs(location) {
		return nil
	}
	if err := unix.Access(location, unix.W_OK); err != nil {
		return hint.New(fmt.Errorf("the repository cannot be written to: %w", err), "is its disk mounted read-only? mount shows it; after errors of the disk, Linux makes it so")
	}
	return nil
}

// freeSpace returns the bytes that this user can still write to the disk of a path.
func freeSpace(path string) (int64, error) {
	var state unix.Statfs_t
	if err := unix.Statfs(path, &state); err != nil {
		return 0, fmt.Errorf("look at the space of %s: %w", path, err)
	}
	return int64(state.Bavail) * state.Bsize, nil
}

// availableMemory returns the bytes of memory that programs can still take without swapping.
func availableMemory() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	match := regexp.MustCompile(`(?m)^MemAvailable:\s+(\d+) kB$`).FindSubmatch(text)
	if match == nil {
		return 0, errors.New("/proc/meminfo has no MemAvailable")
	}
	kilobytes, err := strconv.ParseInt(string(match[1]), 10, 64)
	return kilobytes << 10, err
}

// minRestic is the oldest restic that has all flags that this package uses.
var minRestic = [2]int{0, 14}

var resticVersion = regexp.MustCompile(`^restic (\d+)\.(\d+)`)

// findRestic returns the path of restic: that of this machine, or else a copy of the one in the image of the edge.
func findRestic(ctx context.Context, docker Docker, e edge) (string, error) {
	if program, err := exec.LookPath("restic"); err == nil {
		out, err := exec.CommandContext(ctx, program, "version").Output()
		if match := resticVersion.FindSubmatch(out); err == nil && match != nil {
			major, _ := strconv.Atoi(string(match[1]))
			minor, _ := strconv.Atoi(string(match[2]))
			if major > minRestic[0] || major == minRestic[0] && minor >= minRestic[1] {
				return program, nil
			}
		}
	}
	if e.image == "" {
		return "", missingRestic(errors.New("this machine has no restic, and there is no edge whose image has it"))
	}
	program, err := copyRestic(ctx, docker, e.image)
	if err != nil {
		return "", missingRestic(fmt.Errorf("this machine has no restic, and it could not be copied from the edge's image: %w", err))
	}
	return program, nil
}

func missingRestic(err error) error {
	return hint.New(err, "install restic 0.14 or later, such as with apt-get install restic")
}

// copyRestic copies restic from an image to this user's cache, once for each image.
func copyRestic(ctx context.Context, docker Docker, image string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	id, _, err := docker.Run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	if err != nil {
		return "", err
	}
	id = strings.TrimPrefix(strings.TrimSpace(id), "sha256:")
	program := filepath.Join(cache, "edge", "restic-"+id[:min(16, len(id))])
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		return "", err
	}
	created, _, err := docker.Run(ctx, "create", image)
	if err != nil {
		return "", err
	}
	temporary := program + ".new"
	_, _, err = docker.Run(ctx, "cp", strings.TrimSpace(created)+":/usr/bin/restic", temporary)
	_, _, removeErr := docker.Run(ctx, "rm", strings.TrimSpace(created))
	if err := errors.Join(err, removeErr); err != nil {
		return "", err
	}
	return program, os.Rename(temporary, program)
}
