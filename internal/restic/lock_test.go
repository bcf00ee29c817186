package restic_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestABackupWaitsForARemovalThatGoesOn: the restic of an edge that was killed.
func TestABackupWaitsForARemovalThatGoesOn(t *testing.T) {
	forEachVersion(t, func(t *testing.T, program string) {
		r := newRepository(t, program)
		r.LockWait = 250 * time.Millisecond // so that 40 attempts take longer than the prune is stopped, however fast restic is
		save(t, r, randomBytes(1<<20))
		// A prune is stopped when it has the repository for itself.
		prune := exec.Command(program, "prune")
		prune.Env = append(os.Environ(), "RESTIC_REPOSITORY="+r.URL, "RESTIC_PASSWORD="+r.Password)
		if err := prune.Start(); err != nil {
			t.Fatal(err)
		}
		locks := filepath.Join(r.URL, "locks", strings.Repeat("[0-9a-f]", 64)) // not the file before it has its name
		for {
			if found, err := filepath.Glob(locks); err != nil || len(found) > 0 {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		if err := prune.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if found, err := filepath.Glob(locks); err != nil || len(found) == 0 {
			t.Fatalf("the prune has ended already: %v", err)
		}
		awaited := make(chan error, 1)
		go func() { awaited <- r.AwaitUnlocked(t.Context()) }()
		select {
		case err := <-awaited:
			t.Errorf("does not wait: %v", err)
			awaited <- nil
		case <-time.After(3 * time.Second):
		}
		if err := prune.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := prune.Wait(); err != nil {
			t.Error(err)
		}
		if err := <-awaited; err != nil {
			t.Error(err)
		}
	})
}
