package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// newHostWithWeb3 returns a host that runs web:1 of the registry, which has web:2 and web:3, too.
func newHostWithWeb3(t *testing.T) *fakeHost {
	h := newFakeHost(t)
	for n, tag := range []string{":1", ":2", ":3"} {
		h.push(webRepository+tag, n+1)
	}
	h.mustDeploy("web", webRepository+":1")
	return h
}

const (
	good1 = webRepository + ":1@sha256:0000000000010000000000000000000000000000000000000000000000000001"
	good2 = webRepository + ":2@sha256:0000000000020000000000000000000000000000000000000000000000000002"
)

// TestOfTwoVersionsTheGoodOneCounts: a deployment was killed while both ran.
func TestOfTwoVersionsTheGoodOneCounts(t *testing.T) {
	for name, next := range map[string]string{"a corrected version": ":3", "the same version again": ":2"} {
		t.Run(name, func(t *testing.T) {
			h := newHostWithWeb3(t)
			h.kill(2, "web", webRepository+":2")
			h.second["web"] = imageID(2) // started, and not ready yet
			h.mustDeploy("web", webRepository+next)
			h.mustUndo("web")
			h.expectRunning("web", imageID(1), good1)
		})
	}
}

// TestAVersionThatIsNotReadyIsNoSuccess if the same deployment is run again: its containers are up to date.
func TestAVersionThatIsNotReadyIsNoSuccess(t *testing.T) {
	h := newMigrationHost(t)
	h.failAt, h.stopsFirst = 1, true
	deploy := func() error { return h.deploy("migration", migration2, "web", webRepository+":2").Run(t.Context()) }
	if err := deploy(); !errors.Is(err, ErrNotUndone) {
		t.Fatalf("the error is %v", err)
	}
	h.isUnready = true
	if err := deploy(); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "it is up to date") {
		t.Errorf("the error is %v", err)
	}
	if got := h.results("web"); !slices.Equal(got, []Result{Bad, Bad}) {
		t.Errorf("the results are %v", got)
	}
	h.mustUndo("web")
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
}

// TestAReplacedVersionThatIsNotReadyIsNoGoodOne: the deployment was killed after it had stopped the old container.
func TestAReplacedVersionThatIsNotReadyIsNoGoodOne(t *testing.T) {
	for _, isReady := range []bool{false, true} {
		h := newHostWithWeb3(t)
		h.kill(2, "web", webRepository+":2")
		h.running["web"], h.runningID["web"] = webRepository+":2", imageID(2)
		h.isUnready = !isReady
		h.mustDeploy("web", webRepository+":3")
		h.isUnready = false
		h.mustUndo("web")
		if isReady {
			h.expectRunning("web", imageID(2), good2)
		} else {
			h.expectRunning("web", imageID(1), good1)
		}
	}
}

// TestAReusedContainerIsRolledBack if another service fails: the killed deployment had started it.
func TestAReusedContainerIsRolledBack(t *testing.T) {
	h := newHostWithWeb3(t)
	h.services["api"] = h.services["edge"]
	h.running["api"], h.runningID["api"], h.images["edge:dev"] = "edge:dev", imageID(30), imageID(30)
	h.push("registry.example.com/shop/api:2", 31)
	h.kill(2, "web", webRepository+":2")
	h.second["web"] = imageID(2)
	h.failAt = 3
	h.onRollout = func() { // web is done
		if len(h.rollouts) == 3 {
			h.running["web"], h.runningID["web"] = webRepository+":2", imageID(2)
			delete(h.second, "web")
		}
	}
	if err := h.deploy("web", webRepository+":2", "api", "registry.example.com/shop/api:2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the version before runs again") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), good1)
}

// TestAVersionThatWasRolledOutByHandCounts, also if its deployment had failed before.
func TestAVersionThatWasRolledOutByHandCounts(t *testing.T) {
	h := newHostWithWeb3(t)
	h.failAt = 2
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	h.running["web"], h.runningID["web"] = webRepository+":2", imageID(2)
	h.mustDeploy("web", webRepository+":3")
	h.mustUndo("web")
	h.expectRunning("web", imageID(2), good2)
}

// TestAnImageThatWasPulledLastIsTheOneThatIsHere, though its name has kept the meaning that it had.
func TestAnImageThatWasPulledLastIsTheOneThatIsHere(t *testing.T) {
	h := newFakeHost(t)
	never := func(want int) {
		t.Helper()
		d := h.deploy("web", "shop/web:1")
		d.Pull = "never"
		if err := d.Run(t.Context()); err != nil || h.runningID["web"] != imageID(want) {
			t.Errorf("%v, %s runs", err, h.runningID["web"])
		}
	}
	for n := 2; n <= 3; n++ {
		h.push("shop/web:1", n)
		h.mustDeploy("web", "shop/web:1")
	}
	h.mustUndo("web")
	never(3)
	h.images["shop/web:1"] = imageID(7) // docker build, or docker pull
	never(7)
}

// TestTheSameImageThatIsReplacedAndNotReady has nothing to go back to. If its old container runs on, it is no worse than before.
func TestTheSameImageThatIsReplacedAndNotReady(t *testing.T) {
	h := newHostWithWeb3(t)
	h.failAt = 2
	h.services["web"].Image = "other" // so that the rollout has something to do
	if err := h.deploy("web", webRepository+":1").Run(t.Context()); err == nil || errors.Is(err, ErrNotUndone) {
		t.Errorf("beside the old container: %v", err)
	}
	h = newMigrationHost(t)
	h.mustDeploy("web", webRepository+":2")
	h.failAt, h.stopsFirst = 2, true
	err := h.deploy("migration", migration2, "web", webRepository+":2").Run(t.Context())
	if !errors.Is(err, ErrNotUndone) || len(h.events) == 0 || h.events[len(h.events)-1].Result != Bad {
		t.Errorf("in the place of the old container: %v, %+v", err, h.events)
	}
}

// TestAKilledRollbackLeavesNoGoodVersion: what runs never became ready.
func TestAKilledRollbackLeavesNoGoodVersion(t *testing.T) {
	for name, goBack := range map[string]func(h *fakeHost){
		"undo":                func(h *fakeHost) { h.mustUndo("web") },
		"a corrected version": func(h *fakeHost) { h.mustDeploy("web", webRepository+":3"); h.mustUndo("web") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostWithWeb3(t)
			h.failAt, h.stopsFirst = 2, true
			h.kill(3, "web", webRepository+":2")
			h.expectRunning("web", imageID(2), good1)
			h.failAt = 0
			goBack(h)
			h.expectRunning("web", imageID(1), good1)
		})
	}
}

// TestAMigrationOfAKilledDeploymentDoesNotRunLater: nobody has asked for it.
func TestAMigrationOfAKilledDeploymentDoesNotRunLater(t *testing.T) {
	for name, next := range map[string]func(h *fakeHost){
		"with another deployment": func(h *fakeHost) { h.mustDeploy("web", webRepository+":3") },
		"after an undo":           func(h *fakeHost) { h.mustUndo("web") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newMigrationHost(t)
			h.push(webRepository+":3", 3)
			h.kill(1, "migration", migration2, "web", webRepository+":2")
			h.second["web"] = imageID(2)
			next(h)
			h.expectRunning("migration", imageID(11), "shop/migration:edge-00000000000b")
		})
		t.Run(name+", whose container was removed", func(t *testing.T) { // it may have run
			h := newMigrationHost(t)
			h.push(webRepository+":3", 3)
			h.kill(1, "migration", migration2, "web", webRepository+":2")
			delete(h.running, "migration")
			next(h)
			pins, err := ReadPins(h.directory)
			if got := pins.Services["migration"].Image; err != nil || got != migration2+"@"+imageID(12) {
				t.Errorf("pinned is %q, %v", got, err)
			}
		})
	}
}

// TestAMigrationWhoseContainerIsRemovedHasRun: docker container prune removes it while the errors are watched.
func TestAMigrationWhoseContainerIsRemovedHasRun(t *testing.T) {
	h := newMigrationHost(t)
	h.mustDeploy("migration", migration2, "web", webRepository+":2")
	r, unlock, err := h.deploy("migration", migration2, "web", webRepository+":2").open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	r.oneShotsBefore = map[string]string{"migration": imageID(11)}
	if r.ran, r.ranErr = r.oneShotsThatRan(t.Context()); !slices.Equal(r.ran, []string{"migration"}) {
		t.Fatalf("ran %v, %v", r.ran, r.ranErr)
	}
	delete(h.running, "migration")
	all := []change{{service: "web", deployment: *r.pins.last("web")}}
	if err := r.endBad(t.Context(), all, "500s"); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "a migration has run: migration") {
		t.Errorf("the error is %v", err)
	}
}

// TestANameGoesOnMeaningTheSameImage: other services, and the compose file, use it. Also if the deployment fails.
func TestANameGoesOnMeaningTheSameImage(t *testing.T) {
	h := newFakeHost(t)
	h.push("shop/web:1", 2)
	h.failAt = 1
	if err := h.deploy("web", "shop/web:1").Run(t.Context()); err == nil {
		t.Error("no error")
	}
	if got := h.images["shop/web:1"]; got != imageID(1) {
		t.Errorf("the compose file's image is %s, was %s", got, imageID(1))
	}
	h.mustDeploy("web", "shop/web:1")
	h.expectRunning("web", imageID(2), "shop/web:1@"+imageID(2))
	if got := h.images["shop/web:1"]; got != imageID(1) {
		t.Errorf("the compose file's image is %s, was %s", got, imageID(1))
	}
}

// TestANameOfADeploymentCannotBeTakenOver by an image of the registry, after the one that had it was removed here.
func TestANameOfADeploymentCannotBeTakenOver(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	h.images["shop/web:edge-000000000001"] = imageID(9)
	err := h.deploy().Undo(t.Context(), "web")
	if err == nil || !strings.Contains(err.Error(), "is another image than the one that was deployed") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(2), good2)
}
