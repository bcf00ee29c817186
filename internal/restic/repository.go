// Package restic runs the program restic, which keeps encrypted snapshots of data in a repository.
//
// It needs restic 0.14 or later, and uses no flag that 0.14 lacks.
package restic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Repository is a restic repository. Its methods run one restic each, and are safe for concurrent use.
type Repository struct {
	// Program is the path of restic.
	Program string
	// URL is the repository's location as restic writes it: a path, sftp:user@host:/path, s3:https://host/bucket, …
	URL string
	// Password opens the repository.
	Password string
	// Env are further variables of restic's environment, such as AWS_ACCESS_KEY_ID=….
	Env []string
	// CacheDir is where restic caches the repository's index. If it is empty, restic chooses.
	CacheDir string
	// StallTimeout is how long a stream may make no progress, and how long a command without a stream may take. 0 means 2 minutes: restic
	// itself waits for a dead S3 server without end.
	StallTimeout time.Duration
	// LockWait is the time between two attempts to use a repository that another process has locked. 0 means 3 s.
	LockWait time.Duration
	// IsLowPriority has the commands run behind everything else on the machine: see [lowpriority].
	IsLowPriority bool
}

// defaultStallTimeout is longer than the pauses of a database that makes a large dump.
const defaultStallTimeout = 2 * time.Minute

// stopGrace is how long an interrupted restic may take to exit before it is killed, which leaves a lock in the repository.
const stopGrace = 10 * time.Second

// Snapshot is a snapshot in a repository.
type Snapshot struct {
	ID    string    `json:"id"`
	Time  time.Time `json:"time"`
	Paths []string  `json:"paths"`
	Tags  []string  `json:"tags"`
	// Tree is the hash of its content. Original is the ID of the snapshot that it is a copy of, or that was given a tag; "" if it is neither.
	Tree     string `json:"tree"`
	Original string `json:"original"`
}

// Init creates the repository. It fails if there is one.
func (r *Repository) Init(ctx context.Context) error {
	_, err := r.run(ctx, nil, "init")
	return err
}

// InitLike creates the repository with the chunker parameters of another one, so that [Repository.CopyFrom] stores equal data once.
func (r *Repository) InitLike(ctx context.Context, other *Repository) error {
	env, remove, err := other.asSource()
	if err != nil {
		return err
	}
	defer remove()
	_, err = r.run(ctx, env, "init", "--copy-chunker-params")
	return err
}

// AddKey adds a password that opens the repository, too.
func (r *Repository) AddKey(ctx context.Context, password string) error {
	file, err := writeSecret(password)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	_, err = r.run(ctx, nil, "key", "add", "--new-password-file", file)
	return err
}

// KeyID returns the ID of the key that the password opens. With it in the variable [KeyHintVariable], restic does not try the other keys, each of
// which takes some tenths of a second.
func (r *Repository) KeyID(ctx context.Context) (string, error) {
	text, err := r.run(ctx, nil, "key", "list", "--json", "--no-lock")
	if err != nil {
		return "", err
	}
	var keys []struct {
		ID      string `json:"id"`
		Current bool   `json:"current"`
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		return "", fmt.Errorf("read the output of restic key list: %w", err)
	}
	for _, k := range keys {
		if k.Current {
			return k.ID, nil
		}
	}
	return "", errors.New("restic key list shows no key in use")
}

// KeyHintVariable names the key that restic tries first.
const KeyHintVariable = "RESTIC_KEY_HINT"

// Snapshots returns the snapshots that have all of the tags, the oldest first.
func (r *Repository) Snapshots(ctx context.Context, tags ...string) ([]Snapshot, error) {
	args := []string{"snapshots", "--json", "--no-lock"}
	if len(tags) > 0 {
		args = append(args, "--tag", strings.Join(tags, ","))
	}
	text, err := r.run(ctx, nil, args...)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the output of restic snapshots: %w", err)
	}
	slices.SortStableFunc(all, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Forget removes snapshots. Their data stays in the repository until [Repository.Prune].
func (r *Repository) Forget(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	return r.exclusively(ctx, func() error {
		_, err := r.run(ctx, nil, append([]string{"forget"}, ids...)...)
		return err
	})
}

// exclusively runs a command that needs the repository for itself. If another process has it, and has ended, its lock is removed, and the command
// runs again: to restic, a process that was killed seems to run until its parent has noticed. One that has not ended is waited for: storing the logs of
// databases takes seconds, each minute.
func (r *Repository) exclusively(ctx context.Context, run func() error) error {
	return r.retryLocked(ctx, exclusiveAttempts, run)
}

// AwaitUnlocked waits until no other process has the repository for itself, so that data can be stored: one whose edge was killed may still remove old sets.
func (r *Repository) AwaitUnlocked(ctx context.Context) error {
	return r.retryLocked(ctx, unlockedAttempts, func() error {
		_, err := r.run(ctx, nil, "snapshots", "--json", "--tag", "none") // it locks the repository as a backup does, which reads little
		return err
	})
}

// retryLocked runs a command again while the repository is locked.
func (r *Repository) retryLocked(ctx context.Context, attempts int, run func() error) error {
	for attempt := 1; ; attempt++ {
		err := run()
		locked, isRestic := errors.AsType[*Error](err)
		if !isRestic || locked.Kind != Locked || ctx.Err() != nil || attempt == attempts {
			return err
		}
		if err := r.Unlock(ctx); err != nil {
			return err
		}
		if attempt == 1 {
			continue
		}
		select {
		case <-time.After(cmp.Or(r.LockWait, defaultLockWait)):
		case <-ctx.Done():
			return err
		}
	}
}

const (
	exclusiveAttempts = 6
	unlockedAttempts  = 40
	defaultLockWait   = 3 * time.Second
)

// AddTag adds a tag to a snapshot, which gets another ID by that.
func (r *Repository) AddTag(ctx context.Context, id, tag string) error {
	return r.exclusively(ctx, func() error {
		_, err := r.run(ctx, nil, "tag", "--add", tag, id)
		return err
	})
}

// Prune removes data that no snapshot has. It takes as long as the repository is large; the caller sets the limit in ctx.
func (r *Repository) Prune(ctx context.Context) error {
	return r.exclusively(ctx, func() error {
		_, err := r.exec(ctx, nil, nil, "prune")
		return err
	})
}

// Check checks the structure of the repository, and reads a subset of its data: 5% or 1/7; none if it is empty. Others may store data meanwhile; the caller
// sees that nothing is pruned. The caller sets the limit in ctx, as for [Repository.Prune].
func (r *Repository) Check(ctx context.Context, subset string) error {
	args := []string{"check", "--no-lock"} // it may take hours, in which the logs of databases have to be stored
	if subset != "" {
		args = append(args, "--read-data-subset", subset)
	}
	_, err := r.exec(ctx, nil, nil, args...)
	return err
}

// Unlock removes locks of processes that have ended. Those of running ones stay.
func (r *Repository) Unlock(ctx context.Context) error {
	_, err := r.run(ctx, nil, "unlock")
	return err
}

// CopyFrom copies snapshots from another repository. The caller sets the limit in ctx.
func (r *Repository) CopyFrom(ctx context.Context, other *Repository, ids ...string) error {
	env, remove, err := other.asSource()
	if err != nil {
		return err
	}
	defer remove()
	_, err = r.exec(ctx, env, nil, append([]string{"copy"}, ids...)...)
	return err
}

// asSource returns the environment with which a command reads the repository besides its own. The caller calls remove.
func (r *Repository) asSource() (env []string, remove func(), err error) {
	file, err := writeSecret(r.Password)
	if err != nil {
		return nil, nil, err
	}
	return append(slices.Clone(r.Env), "RESTIC_FROM_REPOSITORY="+r.URL, "RESTIC_FROM_PASSWORD_FILE="+file), func() { os.Remove(file) }, nil
}

// writeSecret writes a secret to a file that only this user can read.
func writeSecret(secret string) (file string, err error) {
	f, err := os.CreateTemp("", "edge-backup-")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(secret)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// run runs a command that has to exit within the stall timeout, and returns its output.
func (r *Repository) run(ctx context.Context, env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.stallTimeout(), fmt.Errorf("the repository does not answer within %v", r.stallTimeout()))
	defer cancel()
	var out bytes.Buffer
	_, err := r.exec(ctx, env, &out, args...)
	return out.Bytes(), err
}

// exec runs a command, and returns what it wrote to stderr.
func (r *Repository) exec(ctx context.Context, env []string, stdout io.Writer, args ...string) (stderr string, err error) {
	cmd := r.command(args...)
	cmd.Env = append(cmd.Env, env...)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &text
	p, err := r.start(cmd)
	if err != nil {
		return "", err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.stop()
	}
	return text.String(), r.result(ctx, args[0], p.err, text.String())
}

// command returns restic with its environment, which has the secrets: every user of the machine can read arguments.
func (r *Repository) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.Program, args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+r.URL, "RESTIC_PASSWORD="+r.Password, "RESTIC_PROGRESS_FPS=0.1")
	if r.CacheDir != "" {
		cmd.Env = append(cmd.Env, "RESTIC_CACHE_DIR="+r.CacheDir)
	}
	cmd.Env = append(cmd.Env, r.Env...)
	return cmd
}

// result returns the error of a command, if it failed.
func (r *Repository) result(ctx context.Context, command string, exit error, stderr string) error {
	if exit == nil {
		return nil
	}
	if ctx.Err() != nil {
		exit = context.Cause(ctx)
	}
	return &Error{Command: command, Repository: r.URL, Kind: kindOf(stderr), Stderr: lastLines(stderr), Err: exit}
}

func (r *Repository) stallTimeout() time.Duration {
	if r.StallTimeout == 0 {
		return defaultStallTimeout
	}
	return r.StallTimeout
}
