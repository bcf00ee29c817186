package restic_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/restic"
	"github.com/theworklabs/edge/tests/harness"
)

const password = "correct horse"

// forEachVersion runs a test with Debian's restic, which is the oldest that works, and with the one in the image.
func forEachVersion(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	oldest, err := exec.LookPath("restic")
	if err != nil {
		t.Fatal("restic is not installed; run tests/setup")
	}
	for name, program := range map[string]string{"installed": oldest, "of the image": harness.Tool(t, "restic")} {
		t.Run(name, func(t *testing.T) { test(t, program) })
	}
}

// newRepository returns a repository that exists.
func newRepository(t *testing.T, program string) *restic.Repository {
	t.Helper()
	r := unopened(t, program)
	if err := r.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := harness.CheapenResticKeys(r.URL, r.Password); err != nil {
		t.Fatal(err)
	}
	return r
}

// unopened returns a repository that does not exist.
func unopened(t *testing.T, program string) *restic.Repository {
	t.Helper()
	dir := t.TempDir()
	return &restic.Repository{Program: program, URL: filepath.Join(dir, "repository"), Password: password, CacheDir: filepath.Join(dir, "cache"), LockWait: 50 * time.Millisecond}
}

// list lists the snapshots, and returns the error.
func list(t *testing.T, r *restic.Repository) error {
	t.Helper()
	_, err := r.Snapshots(t.Context())
	return err
}

// save stores data under the name "data".
func save(t *testing.T, r *restic.Repository, data []byte, tags ...string) restic.Saved {
	t.Helper()
	saved, err := r.Save(t.Context(), "data", tags, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func load(t *testing.T, r *restic.Repository, id string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.Load(t.Context(), id, "data", &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// expectKind fails the test unless err is an error of restic of the kind, with a hint.
func expectKind(t *testing.T, err error, want restic.Kind) {
	t.Helper()
	e, ok := errors.AsType[*restic.Error](err)
	if !ok || e.Kind != want {
		t.Fatalf("got %v (%T), want kind %v", err, err, want)
	}
	if want != restic.Other && e.Hint() == "" {
		t.Errorf("%v has no hint", err)
	}
}

// expectClean fails the test if the repository has a snapshot or a lock.
func expectClean(t *testing.T, r *restic.Repository) {
	t.Helper()
	for _, dir := range []string{"snapshots", "locks"} {
		if files, err := os.ReadDir(filepath.Join(r.URL, dir)); err != nil || len(files) > 0 {
			t.Errorf("the repository has %d files in %s (%v)", len(files), dir, err)
		}
	}
}

func TestAStreamIsStoredAndLoaded(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		data := randomBytes(5 << 20)
		first := save(t, r, data, "app=shop", "part=dump")
		second := save(t, r, data, "app=other")
		if first.Added < int64(len(data)) || second.Added > first.Added/100 {
			t.Errorf("%d bytes added, then %d for the same data", first.Added, second.Added)
		}
		if got := load(t, r, first.SnapshotID); !bytes.Equal(got, data) {
			t.Errorf("loaded %d bytes, which are not those that were stored", len(got))
		}
		all, err := r.Snapshots(t.Context(), "app=shop", "part=dump")
		if err != nil || len(all) != 1 || !strings.HasPrefix(all[0].ID, first.SnapshotID) {
			t.Errorf("snapshots with the tags: %+v, %v", all, err)
		}
		if err := r.Forget(t.Context(), first.SnapshotID); err != nil {
			t.Error(err)
		}
		if err := r.Forget(t.Context()); err != nil {
			t.Errorf("forget nothing: %v", err)
		}
		if err := r.Prune(t.Context()); err != nil {
			t.Error(err)
		}
		if all, err := r.Snapshots(t.Context()); err != nil || len(all) != 1 || !strings.HasPrefix(all[0].ID, second.SnapshotID) {
			t.Errorf("snapshots that are left: %+v, %v", all, err)
		}
		if err := r.Check(t.Context(), "100%"); err != nil {
			t.Error(err)
		}
		if err := r.Load(t.Context(), second.SnapshotID, "nothing", io.Discard); err == nil {
			t.Error("a file that the snapshot lacks is loaded")
		}
	})
}

// TestAStreamThatFailsLeavesNothing: restic itself would store what it has got until then, as if it were whole.
func TestAStreamThatFailsLeavesNothing(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		broken := errors.New("the dump died")
		_, err := r.Save(t.Context(), "data", nil, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(randomBytes(3 << 20))
			return errors.Join(err, broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want the error of the stream", err)
		}
		expectClean(t, r)
		// An interrupt.
		ctx, cancel := context.WithCancel(t.Context())
		_, err = r.Save(ctx, "data", nil, func(ctx context.Context, w io.Writer) error {
			_, err := w.Write(randomBytes(3 << 20))
			cancel()
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was canceled", err)
		}
		expectClean(t, r)
	})
}

func TestAStreamThatStallsIsEnded(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		r.StallTimeout = 4 * time.Second // longer than restic takes to start on a busy machine: one that is interrupted before it reads may leave its lock
		_, err := r.Save(t.Context(), "data", nil, func(ctx context.Context, w io.Writer) error {
			if _, err := w.Write(randomBytes(1 << 20)); err != nil {
				return err
			}
			<-ctx.Done() // like a dump that waits for a lock
			return ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "nothing has moved for 4s") {
			t.Errorf("got %v", err)
		}
		expectClean(t, r)
	})
}

// stoppedProgram returns a restic that stops for ever at its start, as restic does when an S3 server is dead.
func stoppedProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "restic")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestARepositoryThatDoesNotAnswerIsAnError(t *testing.T) {
	r := unopened(t, stoppedProgram(t))
	r.StallTimeout = 200 * time.Millisecond
	if err := list(t, r); err == nil || !strings.Contains(err.Error(), "does not answer within 200ms") {
		t.Errorf("got %v", err)
	}
	// The stream fills the pipe, and waits.
	_, err := r.Save(t.Context(), "data", nil, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(randomBytes(1 << 20))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "nothing has moved") {
		t.Errorf("got %v", err)
	}
	if err := r.Load(t.Context(), "latest", "data", io.Discard); err == nil || !strings.Contains(err.Error(), "nothing has moved") {
		t.Errorf("got %v", err)
	}
}

func TestAKilledResticIsAnErrorAndItsLockIsRemoved(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		_, err := r.Save(t.Context(), "data", nil, func(ctx context.Context, w io.Writer) error {
			if _, err := w.Write(randomBytes(3 << 20)); err != nil {
				return err
			}
			if out, err := exec.Command("pkill", "-KILL", "-f", program+" backup .*--stdin-filename data").CombinedOutput(); err != nil {
				t.Errorf("kill restic: %v %s", err, out)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "restic") {
			t.Errorf("got %v", err)
		}
		// Its lock does not keep a command from running that needs the repository for itself.
		if err := r.Prune(t.Context()); err != nil {
			t.Error(err)
		}
		if err := r.Check(t.Context(), ""); err != nil {
			t.Error(err)
		}
		expectClean(t, r)
	})
}

func TestErrorsAreToldApart(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		expectKind(t, list(t, unopened(t, program)), restic.NoRepository)
		expectKind(t, r.Init(t.Context()), restic.Exists)
		other := *r
		other.Password = "wrong"
		expectKind(t, list(t, &other), restic.WrongPassword)
		_, err := other.Save(t.Context(), "data", nil, func(ctx context.Context, w io.Writer) error {
			_, err := io.Copy(w, zeros{})
			return err
		})
		expectKind(t, err, restic.WrongPassword)
		_, err = r.Save(t.Context(), "data", nil, func(ctx context.Context, w io.Writer) error {
			if _, err := w.Write(randomBytes(1 << 20)); err != nil {
				return err
			}
			expectKind(t, r.Prune(ctx), restic.Locked)
			return r.Check(ctx, "100%") // needs no lock
		})
		if err != nil {
			t.Error(err)
		}
		expectKind(t, list(t, &restic.Repository{Program: program, URL: r.URL, Password: "", CacheDir: r.CacheDir}), restic.WrongPassword)
	})
}

// zeros is a stream without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestADamagedPackIsFound(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		saved := save(t, r, randomBytes(1<<20))
		packs, err := filepath.Glob(filepath.Join(r.URL, "data", "*", "*"))
		if err != nil || len(packs) == 0 {
			t.Fatalf("packs: %v, %v", packs, err)
		}
		for _, file := range packs {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/3] ^= 1
			if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, text, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		expectKind(t, r.Check(t.Context(), "100%"), restic.Damaged)
		if err := r.Load(t.Context(), saved.SnapshotID, "data", io.Discard); err == nil {
			t.Error("damaged data is loaded")
		}
	})
}

func TestASecondKeyOpensTheRepository(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		saved := save(t, r, []byte("x"))
		if err := r.AddKey(t.Context(), "recovery key"); err != nil {
			t.Fatal(err)
		}
		other := *r
		other.Password = "recovery key"
		if got := load(t, &other, saved.SnapshotID); string(got) != "x" {
			t.Errorf("got %q", got)
		}
		first, err := r.KeyID(t.Context())
		second, otherErr := other.KeyID(t.Context())
		if err != nil || otherErr != nil || first == "" || first == second {
			t.Errorf("the keys are %q and %q: %v, %v", first, second, err, otherErr)
		}
		// The hint is none for another password, and none in another repository.
		for _, hint := range []string{first, "00000000"} {
			hinted := other
			hinted.Env = []string{restic.KeyHintVariable + "=" + hint}
			if err := list(t, &hinted); err != nil {
				t.Errorf("with the hint %s: %v", hint, err)
			}
		}
	})
}

func TestSnapshotsAreCopied(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		saved, data := restic.Saved{}, randomBytes(1<<20)
		saved = save(t, r, data, "app=shop")
		mirror := unopened(t, program)
		mirror.Password = "another password"
		if err := mirror.InitLike(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := mirror.CopyFrom(t.Context(), r, saved.SnapshotID); err != nil {
			t.Fatal(err)
		}
		all, err := mirror.Snapshots(t.Context(), "app=shop")
		if err != nil || len(all) != 1 {
			t.Fatalf("got %+v, %v", all, err)
		}
		if got := load(t, mirror, all[0].ID); !bytes.Equal(got, data) {
			t.Error("the copy has other data")
		}
	})
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	for text, want := range map[string]string{
		"rest:https://user:secret@host/repo": "rest:https://user:xxxxx@host/repo",
		"s3:https://host/bucket":             "s3:https://host/bucket",
		"sftp:user@host:/srv/repo":           "sftp:user@host:/srv/repo",
		"/srv/repo":                          "/srv/repo",
	} {
		if got := restic.RedactURL(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
