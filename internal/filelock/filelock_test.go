package filelock

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLockIsHeldByOneAtATime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.lock")
	first, err := Exclusive(name)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := Exclusive(name); second != nil || err != nil {
		t.Errorf("a second lock: got %v, %v; want none", second, err)
	}
	if err := first.Close(); err != nil { // as when its process ends
		t.Fatal(err)
	}
	again, err := Exclusive(name)
	if err != nil || again == nil {
		t.Fatalf("after unlock: got %v, %v; want a lock", again, err)
	}
	again.Close()
}

func TestUncreatableLockFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := Exclusive(filepath.Join(dir, "none", "x.lock")); err == nil {
		t.Error("got no error for a missing directory")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Exclusive(link); err == nil {
		t.Error("got no error for a dangling link")
	}
}
