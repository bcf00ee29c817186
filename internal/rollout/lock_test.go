package rollout

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
)

func TestLockIsHeldByOneAtATime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.lock")
	first, err := lockFile(name, tryLock)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := lockFile(name, tryLock); second != nil || err != nil {
		t.Errorf("a second lock: got %v, %v; want none", second, err)
	}
	if err := first.Close(); err != nil { // as when its process ends
		t.Fatal(err)
	}
	again, err := lockFile(name, tryLock)
	if err != nil || again == nil {
		t.Fatalf("after unlock: got %v, %v; want a lock", again, err)
	}
	again.Close()
}

func TestUncreatableLockFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := lockFile(filepath.Join(dir, "none", "x.lock"), tryLock); err == nil {
		t.Error("got no error for a missing directory")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(link, tryLock); err == nil {
		t.Error("got no error for a dangling link")
	}
}

func TestSecondRolloutOfAServiceIsRefused(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newFakeHost(t, 1)
	s := &stack{docker: w, edge: edgeContainer{project: "shop", name: "edge", service: "edge"}, Stack: &compose.Stack{Name: "shop", Services: map[string]*compose.Service{
		"web": {DependsOn: map[string]compose.Dependency{"migrate": {Condition: "service_completed_successfully"}}}, "migrate": {}, "api": {}, "edge": {},
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
	if _, err := s.lockServices(t.Context(), []string{"edge"}); err == nil || err.Error() != "a rollout that asks the edge is under way" {
		t.Errorf("the edge: %v", err)
	}
	other()
	unlock()
	if unlock, err = s.lockServices(t.Context(), []string{"edge"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lockServices(t.Context(), []string{"api"}); err == nil || err.Error() != "a rollout of the edge is under way" {
		t.Errorf("a service while the edge is replaced: %v", err)
	}
	unlock()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 1 { // that of the edge, which several may share
		t.Errorf("files remain: %v, %v", left, err)
	}
}

// TestACallerCanHoldTheLock: it changes the compose files before the rollout.
func TestACallerCanHoldTheLock(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	runTestRollout(t, 1, func(w *fakeHost, r *Rollout, _ context.CancelFunc) {
		unlock, err := (&Rollout{Docker: w, Edge: r.Edge, Services: r.Services}).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(unlock)
		if _, err := (&Rollout{Docker: w, Edge: r.Edge, Services: r.Services}).Lock(t.Context()); err == nil || !strings.Contains(err.Error(), "another rollout of web is under way") {
			t.Errorf("a second lock: %v", err)
		}
		r.IsLocked = true
	}, func(t *testing.T, a *testRollout) {
		a.checkSucceeded(t, "new")
	})
}
