package harness

import (
	"os"
	"os/exec"
	"testing"
)

// Mount mounts a file system with the arguments of mount(8) at a directory, which it creates, until the end of the test.
func Mount(t testing.TB, target string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, target)...).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", target).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}
