package rollout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestLockIsHeldByOneAtATime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.lock")
	first, err := lockFile(name)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := lockFile(name); second != nil || err != nil {
		t.Errorf("a second lock: got %v, %v; want none", second, err)
	}
	if err := first.Close(); err != nil { // as when its process ends
		t.Fatal(err)
	}
	again, err := lockFile(name)
	if err != nil || again == nil {
		t.Fatalf("after unlock: got %v, %v; want a lock", again, err)
	}
	again.Close()
}

func TestUncreatableLockFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := lockFile(filepath.Join(dir, "none", "x.lock")); err == nil {
		t.Error("got no error for a missing directory")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(link); err == nil {
		t.Error("got no error for a dangling link")
	}
}

func TestSecondRolloutOfAServiceIsRefused(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newFakeHost(t, 1)
	s := &stack{docker: w, Stack: &compose.Stack{Name: "shop", Services: map[string]*compose.Service{
		"web": {DependsOn: map[string]compose.Dependency{"migrate": {Condition: "service_completed_successfully"}}}, "migrate": {}, "api": {},
	}}}
	unlock, err := s.lockServices(t.Context(), []string{"web"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "migrate"} {
		if _, err := s.lockServices(t.Context(), []string{"api", name}); err == nil || err.Error() != "another rollout of "+name+" is under way" {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := s.lockServices(t.Context(), []string{"api"})
	if err != nil {
		t.Errorf("another service: %v", err)
	}
	other()
	unlock()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("files remain: %v, %v", left, err)
	}
}
