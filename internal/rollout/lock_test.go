package rollout

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/compose"
	"github.com/theworklabs/edge/internal/hint"
)

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
		if _, err := s.lockServices(t.Context(), []string{"api", name}); err == nil || err.Error() != "another rollout of "+name+" is under way, or a restore or a cleanup" {
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

// TestNoRolloutInTheMiddleOfARestore: what the containers would find may be half of the data. The edge has the maintenance page, and none of it.
func TestNoRolloutInTheMiddleOfARestore(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	s := &stack{docker: newFakeHost(t, 1), project: compose.Project{Directory: dir}, edge: edgeContainer{project: "shop", name: "edge", service: "edge"}, Stack: &compose.Stack{Name: "shop", Services: map[string]*compose.Service{"web": {}, "edge": {}}}}
	if err := os.WriteFile(filepath.Join(dir, compose.RestoreJournal), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lockServices(t.Context(), []string{"web"}); err == nil || err.Error() != "a restore of the project's data is not finished" || hint.Of(err) != "edge restore latest" {
		t.Errorf("a service: %v, hint: %s", err, hint.Of(err))
	}
	unlock, err := s.lockServices(t.Context(), []string{"edge"})
	if err != nil {
		t.Fatalf("the edge: %v", err)
	}
	unlock()
	if err := os.Remove(filepath.Join(dir, compose.RestoreJournal)); err != nil {
		t.Fatal(err)
	}
	if unlock, err = s.lockServices(t.Context(), []string{"web"}); err != nil {
		t.Fatalf("when the restore is finished: %v", err)
	}
	defer unlock()
	if _, err := compose.LockServices(t.Context(), s.docker, "shop", []string{"web"}); err == nil {
		t.Error("a restore begins while the rollout is under way")
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
