package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const migration2 = "registry.example.com/shop/migration:2"

// newMigrationHost returns a host whose registry has web:2, and migration:2, which runs before it.
func newMigrationHost(t *testing.T) *fakeHost {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push(migration2, 12)
	return h
}

// TestAMigrationRunsThoughItsServiceIsUpToDate: the containers of the service are replaced for that.
func TestAMigrationRunsThoughItsServiceIsUpToDate(t *testing.T) {
	h := newMigrationHost(t)
	h.mustDeploy("web", webRepository+":2")
	h.mustDeploy("migration", migration2, "web", webRepository+":2")
	h.expectRunning("migration", imageID(12), migration2+"@"+imageID(12))
}

// TestAnUndoLeavesTheMigration: an older one does not run on the new schema, now or with the next docker compose up.
func TestAnUndoLeavesTheMigration(t *testing.T) {
	h := newMigrationHost(t)
	h.mustDeploy("migration", migration2, "web", webRepository+":2")
	h.mustUndo("web")
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
	h.expectRunning("migration", imageID(12), migration2+"@"+imageID(12))
	if err := h.deploy().Undo(t.Context(), "migration"); err == nil || !strings.Contains(err.Error(), "runs before web") {
		t.Errorf("the error is %v", err)
	}
}

// TestAFailedRolloutAfterAMigrationIsNotRolledBack if the version before is gone.
func TestAFailedRolloutAfterAMigrationIsNotRolledBack(t *testing.T) {
	h := newMigrationHost(t)
	h.failAt, h.stopsFirst = 1, true
	err := h.deploy("migration", migration2, "web", webRepository+":2").Run(t.Context())
	if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "does not become ready; a migration has run") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	h.expectRunning("migration", imageID(12), migration2+"@"+imageID(12))
	if len(h.rollouts) != 1 || !slices.Equal(h.results("web"), []Result{Bad}) || !slices.Equal(h.results("migration"), []Result{Deployed}) {
		t.Errorf("the rollouts are %q, the results %v and %v", h.rollouts, h.results("web"), h.results("migration"))
	}
	if len(h.events) != 1 || h.events[0].Service != "web" || h.events[0].Result != Bad {
		t.Errorf("the edge was notified of %+v", h.events)
	}
	h.mustUndo("web")
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
}

// TestAMigrationThatHasRunStaysPinned if the new version does not become ready, and the one before serves on.
func TestAMigrationThatHasRunStaysPinned(t *testing.T) {
	h := newMigrationHost(t)
	h.failAt = 1
	h.onRollout = func() { h.running["migration"], h.runningID["migration"] = migration2, imageID(12) }
	if err := h.deploy("migration", migration2, "web", webRepository+":2").Run(t.Context()); err == nil || errors.Is(err, ErrNotUndone) {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), "")
	h.expectRunning("migration", imageID(12), migration2+"@"+imageID(12))
	if !slices.Equal(h.results("web"), []Result{Failed}) || !slices.Equal(h.results("migration"), []Result{Deployed}) {
		t.Errorf("the results are %v and %v", h.results("web"), h.results("migration"))
	}
}

// TestARemovedMigrationContainerIsNoMigration: docker container prune removes those that have exited.
func TestARemovedMigrationContainerIsNoMigration(t *testing.T) {
	h := newMigrationHost(t)
	delete(h.running, "migration")
	h.failAt, h.stopsFirst = 1, true
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the version before runs again") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
}

// TestAServiceThatMigratesWhenItStartsIsNotRolledBack: neither if it does not become ready, nor if it has more errors.
func TestAServiceThatMigratesWhenItStartsIsNotRolledBack(t *testing.T) {
	h := newMigrationHost(t)
	h.services["web"].Labels = map[string]string{MigratesLabel: "true"}
	h.failAt, h.stopsFirst = 1, true
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "a migration has run, or may have") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	if len(h.rollouts) != 1 || !slices.Equal(h.results("web"), []Result{Bad}) {
		t.Errorf("the rollouts are %q, the results %v", h.rollouts, h.results("web"))
	}
}
