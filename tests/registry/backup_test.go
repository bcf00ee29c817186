package registry

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/theworklabs/edge/tests/harness"
)

// TestTheRegistryIsRestored: images that were pushed before the backup are whole again after the storage was lost, and those that were pushed during it are whole, or not there.
func TestTheRegistryIsRestored(t *testing.T) {
	if os.Getenv("EDGE_TEST_DELIVERY") == "" {
		t.Skip("part of make test-delivery")
	}
	location, password := filepath.Join(t.TempDir(), "repository"), "only for this test"
	create := exec.CommandContext(t.Context(), harness.Tool(t, "restic"), "init")
	create.Env = append(os.Environ(), "RESTIC_REPOSITORY="+location, "RESTIC_PASSWORD="+password)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("restic init: %v: %s", err, out)
	}
	edge := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), stack.edge, append(args, stack.FileArgs()...)...)
		cmd.Env = append(stack.Environ(), "EDGE_BACKUP_REPOSITORY="+location, "EDGE_BACKUP_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("edge %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	before := stack.repository(t, "shop/before", "push")
	layer := randomBytes(t, 20<<20)
	kept, err := push(t.Context(), before, "v1", time.Now(), layer)
	if err != nil {
		t.Fatal(err)
	}
	// While the backup runs.
	during := stack.repository(t, "shop/meanwhile", "push")
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				done <- nil
				return
			default:
				_, err = push(t.Context(), during, "latest", time.Now(), randomBytes(t, 1<<20))
			}
		}
		done <- err
	}()
	t.Log(edge("backup", "registry"))
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("a push during the backup: %v", err)
	}
	if _, err := push(t.Context(), before, "v2", time.Now(), randomBytes(t, 1<<20)); err != nil {
		t.Fatal(err)
	}
	stack.MustCompose(t, "exec", "-T", "registry", "rm", "-r", "/var/lib/registry/docker")
	if hasBlob(t, digest.FromBytes(layer)) {
		t.Fatal("the storage is still there")
	}
	t.Log(edge("restore", "latest", "registry"))
	checkComplete(t, before, kept)
	if _, err := before.Resolve(t.Context(), "v2"); err == nil {
		t.Error("an image that was pushed after the backup is there")
	}
	switch d, err := during.Resolve(t.Context(), "latest"); {
	case err == nil:
		checkComplete(t, during, d)
	case !strings.Contains(err.Error(), "not found"):
		t.Error(err)
	}
	if _, err := push(t.Context(), before, "v3", time.Now(), layer); err != nil {
		t.Errorf("a push after the restore: %v", err)
	}
}
