package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const webRepository = "registry.example.com/shop/web"

// TestImagesArePinnedByWhatNeverChanges: by the digest of the registry that they are from or, if they were built here, by a tag of their own.
func TestImagesArePinnedByWhatNeverChanges(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	if pins := h.read(PinsFile); !strings.Contains(pins, "previous: shop/web:edge-000000000001") {
		t.Errorf("what ran before is not pinned:\n%s", pins)
	}

	h.images["shop/web:dev"] = "sha256:abcdef012345" + strings.Repeat("0", 52)
	h.mustDeploy("web", "shop/web:dev")
	h.expectRunning("web", h.images["shop/web:dev"], "shop/web:edge-abcdef012345")

	h.mustDeploy("web", webRepository+"@"+imageID(2))
	h.expectRunning("web", imageID(2), webRepository+"@"+imageID(2))
	if got := h.results("web"); !slices.Equal(got, []Result{Deployed, Deployed, Deployed}) {
		t.Errorf("the results are %v", got)
	}
	if last := h.events[len(h.events)-1]; last != (Event{"shop", "web", webRepository + "@" + imageID(2), "me", Deployed}) {
		t.Errorf("the edge was notified of %+v", last)
	}
}

// TestComposeReadsThePinsFromThenOn by COMPOSE_FILE in .env, whatever was there before.
func TestComposeReadsThePinsFromThenOn(t *testing.T) {
	for name, c := range map[string]struct{ env, want, note string }{
		"no .env":            {"", "COMPOSE_FILE=compose.yaml:compose.deploy.yaml\n", "COMPOSE_FILE=compose.yaml:compose.deploy.yaml now"},
		"without a new line": {"A=b", "A=b\nCOMPOSE_FILE=compose.yaml:compose.deploy.yaml\n", "now"},
		"other files":        {"COMPOSE_FILE=compose.yaml:more.yaml\nA=b\n", "COMPOSE_FILE=compose.yaml:more.yaml:compose.deploy.yaml\nA=b\n", "now"},
		"another separator":  {"COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=compose.yaml,more.yaml\n", "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=compose.yaml,more.yaml,compose.deploy.yaml\n", "now"},
		"there already":      {"COMPOSE_FILE='compose.yaml:compose.deploy.yaml'\n", "COMPOSE_FILE='compose.yaml:compose.deploy.yaml'\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			h.write("more.yaml", "services: {}\n")
			if c.env != "" {
				h.write(".env", c.env)
			}
			h.push(webRepository+":2", 2)
			h.mustDeploy("web", webRepository+":2")
			if got := h.read(".env"); got != c.want || !strings.Contains(h.out.String(), c.note) {
				t.Errorf(".env is %q, want %q; printed %s", got, c.want, h.out.String())
			}
			if info, err := os.Stat(filepath.Join(h.directory, ".env")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf(".env: %v, %v", info.Mode(), err)
			}
		})
	}
	t.Run("from flags", func(t *testing.T) {
		h := newFakeHost(t)
		h.push(webRepository+":2", 2)
		d := h.deploy("web", webRepository+":2")
		d.Project.Files = []string{filepath.Join(h.directory, "compose.yaml")}
		if err := d.Run(t.Context()); err != nil || h.read(".env") != "" || !strings.Contains(h.out.String(), "add --file compose.deploy.yaml") {
			t.Errorf("%v, printed %s", err, h.out.String())
		}
	})
	t.Run("from the environment", func(t *testing.T) {
		h := newFakeHost(t)
		t.Setenv("COMPOSE_FILE", "compose.yaml")
		h.push(webRepository+":2", 2)
		h.mustDeploy("web", webRepository+":2")
		if h.read(".env") != "" || !strings.Contains(h.out.String(), "in your environment") {
			t.Errorf("printed %s", h.out.String())
		}
	})
}

func TestAFailedRolloutLeavesThePinsAsTheyWere(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push(webRepository+":3", 3)
	h.failAt = 1
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "does not become ready") {
		t.Fatalf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), "")
	h.mustDeploy("web", webRepository+":2")
	h.failAt = 3
	if err := h.deploy("web", webRepository+":3").Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	if got := h.results("web"); !slices.Equal(got, []Result{Failed, Deployed, Failed}) || len(h.rollouts) != 3 {
		t.Errorf("the results are %v, after the rollouts %v", got, h.rollouts)
	}
	if pins := h.read(PinsFile); !strings.Contains(pins, "error: 'web: it does not become ready'") {
		t.Errorf("the file has no reason:\n%s", pins)
	}
}

// TestAFailedRolloutThatStopsFirstGoesBack: the new version runs in the place of the old one.
func TestAFailedRolloutThatStopsFirstGoesBack(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.failAt, h.stopsFirst = 1, true
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the version before runs again") {
		t.Fatalf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
	if len(h.rollouts) != 2 || !slices.Equal(h.results("web"), []Result{Failed}) {
		t.Errorf("the rollouts are %v, the results %v", h.rollouts, h.results("web"))
	}
}

// TestAFailedRollbackIsReported: neither version serves.
func TestAFailedRollbackIsReported(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.failAt, h.stopsFirst = 1, true
	h.onRollout = func() {
		if len(h.rollouts) == 2 {
			h.failAt = 2
		}
	}
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "roll back: ") {
		t.Errorf("the error is %v", err)
	}
	if len(h.events) != 1 || h.events[0].Result != Bad || !slices.Equal(h.results("web"), []Result{Bad}) {
		t.Errorf("the edge was notified of %+v, the results are %v", h.events, h.results("web"))
	}
}

// TestARollbackIsToWhatRan, not to what was pinned: it was rolled out by hand since.
func TestARollbackIsToWhatRan(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push(webRepository+":3", 3)
	h.mustDeploy("web", webRepository+":2")
	h.images["shop/web:hotfix"] = imageID(7)
	h.running["web"], h.runningID["web"] = "shop/web:hotfix", imageID(7)
	h.failAt, h.stopsFirst = 2, true
	if err := h.deploy("web", webRepository+":3").Run(t.Context()); err == nil || errors.Is(err, ErrNotUndone) {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(7), "shop/web:edge-000000000007")
}

// TestAFirstDeploymentThatFailsHasNothingToGoBackTo.
func TestAFirstDeploymentThatFailsHasNothingToGoBackTo(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	delete(h.running, "web")
	h.failAt, h.stopsFirst = 1, true
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "nothing ran before") {
		t.Errorf("the error is %v", err)
	}
	if pins := h.read(PinsFile); strings.Contains(pins, "services:") {
		t.Errorf("the image stays pinned:\n%s", pins)
	}
	if len(h.rollouts) != 1 || !slices.Equal(h.results("web"), []Result{Bad}) {
		t.Errorf("the rollouts are %q, the results %v", h.rollouts, h.results("web"))
	}
}

// TestAnUndoOfNothingRollsNothingOut: a rollout of no service would be one of all.
func TestAnUndoOfNothingRollsNothingOut(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push(webRepository+":3", 3)
	h.push("registry.example.com/shop/migration:2", 12)
	h.mustDeploy("migration", "registry.example.com/shop/migration:2", "web", webRepository+":2")
	h.mustDeploy("web", webRepository+":3")
	if err := h.deploy().Undo(t.Context(), "migration"); err == nil || !strings.Contains(err.Error(), "runs before web") {
		t.Errorf("the error is %v", err)
	}
	delete(h.services, "web")
	if err := h.deploy().Undo(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "any more") {
		t.Errorf("the error is %v", err)
	}
	if len(h.rollouts) != 2 {
		t.Errorf("the rollouts are %q", h.rollouts)
	}
}

// TestAnImageThatIsDeployedTwiceIsUndoneAtOnce, as by a job that runs again.
func TestAnImageThatIsDeployedTwiceIsUndoneAtOnce(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	h.mustDeploy("web", webRepository+":2")
	h.mustUndo("web")
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
}

// TestAnUndoIsLimitedToWhatIsAllowed: the image before is of another repository.
func TestAnUndoIsLimitedToWhatIsAllowed(t *testing.T) {
	h := newFakeHost(t)
	for n := 2; n <= 3; n++ {
		h.push(fmt.Sprintf("%s:%d", webRepository, n), n)
		h.mustDeploy("web", fmt.Sprintf("%s:%d", webRepository, n))
	}
	for _, want := range []error{nil, errNotAllowed} {
		d := h.deploy()
		d.MayUndo = MayDeploy([]Allowance{{"web", webRepository}}, true)
		if err := d.Undo(t.Context(), "web"); !errors.Is(err, want) {
			t.Errorf("the error is %v, want %v", err, want)
		}
		h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	}
}

// TestPinsArePutBackThoughTheEngineIsGone, which is why the rollout has failed.
func TestPinsArePutBackThoughTheEngineIsGone(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.failAt, h.isGone = 1, true
	err := h.deploy("web", webRepository+":2").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not become ready") || !strings.Contains(err.Error(), "web may run the new image: cannot connect") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("web", imageID(1), "")
	if got := h.results("web"); !slices.Equal(got, []Result{Failed}) {
		t.Errorf("the results are %v", got)
	}
}

// TestUndoGoesBackOneDeploymentAfterTheOther, also to the image of the compose file as it was when it ran.
func TestUndoGoesBackOneDeploymentAfterTheOther(t *testing.T) {
	h := newFakeHost(t)
	for n := 2; n <= 3; n++ {
		h.push(webRepository+":latest", n)
		h.mustDeploy("web", webRepository+":latest")
	}
	h.images["shop/web:1"] = imageID(99) // built anew meanwhile
	h.expectRunning("web", imageID(3), webRepository+":latest@"+imageID(3))
	for _, want := range []struct{ id, pinned string }{
		{imageID(2), webRepository + ":latest@" + imageID(2)},
		{imageID(1), "shop/web:edge-000000000001"},
	} {
		if err := h.deploy().Undo(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		h.expectRunning("web", want.id, want.pinned)
	}
	if err := h.deploy().Undo(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "no deployment to undo") {
		t.Errorf("the error is %v", err)
	}
	if got := h.results("web"); !slices.Equal(got, []Result{Undone, Undone, Rollback, Rollback}) {
		t.Errorf("the results are %v", got)
	}
}

// TestAnInterruptedDeploymentIsNoGoodOne: neither a later failure nor an undo goes back to it.
func TestAnInterruptedDeploymentIsNoGoodOne(t *testing.T) {
	for name, goBack := range map[string]func(h *fakeHost){
		"by undo":          func(h *fakeHost) { h.mustDeploy("web", webRepository+":3"); h.mustUndo("web") },
		"by undo, at once": func(h *fakeHost) { h.mustUndo("web") },
		"because the next fails": func(h *fakeHost) {
			h.failAt = len(h.rollouts) + 1
			if err := h.deploy("web", webRepository+":3").Run(h.t.Context()); err == nil {
				h.t.Error("no error")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			for n := 1; n <= 3; n++ {
				h.push(fmt.Sprintf("%s:%d", webRepository, n), n)
			}
			h.mustDeploy("web", webRepository+":1")
			pins, err := ReadPins(h.directory)
			if err != nil {
				t.Fatal(err)
			}
			good := webRepository + ":1@" + imageID(1)
			pins.begin("web", Deployment{Image: webRepository + ":2", Pinned: webRepository + ":2@" + imageID(2), Previous: good, Time: time.Now(), Result: Started}, false)
			if err := pins.write(h.directory); err != nil {
				t.Fatal(err)
			}
			goBack(h)
			h.expectRunning("web", imageID(1), good)
		})
	}
}

// TestAnInterruptedUndoIsRepeated, and not undone: the image before it is the bad one.
func TestAnInterruptedUndoIsRepeated(t *testing.T) {
	h := newFakeHost(t)
	for n := 2; n <= 3; n++ {
		h.push(fmt.Sprintf("%s:%d", webRepository, n), n)
		h.mustDeploy("web", fmt.Sprintf("%s:%d", webRepository, n))
	}
	good := webRepository + ":2@" + imageID(2)
	pins, err := ReadPins(h.directory)
	if err != nil {
		t.Fatal(err)
	}
	pins.begin("web", Deployment{Image: good, Pinned: good, Previous: webRepository + ":3@" + imageID(3), Time: time.Now(), Result: Started, IsUndo: true}, false)
	if err := pins.write(h.directory); err != nil {
		t.Fatal(err)
	}
	h.mustUndo("web")
	h.expectRunning("web", imageID(2), good)
}

// TestTheOwnerAndTheLinkOfEnvStay when root deploys.
func TestTheOwnerAndTheLinkOfEnvStay(t *testing.T) {
	h := newFakeHost(t)
	h.write("real.env", "A=b\n")
	owner := os.Geteuid()
	if owner == 0 { // only root can give a file away
		owner = 1234
	}
	if err := errors.Join(os.Chown(filepath.Join(h.directory, "real.env"), owner, -1), os.Symlink("real.env", filepath.Join(h.directory, ".env"))); err != nil {
		t.Fatal(err)
	}
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	info, err := os.Lstat(filepath.Join(h.directory, "real.env"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != owner || !strings.Contains(h.read("real.env"), "COMPOSE_FILE=") {
		t.Errorf("the file is of %d and has %q", got, h.read("real.env"))
	}
	if link, err := os.Readlink(filepath.Join(h.directory, ".env")); err != nil || link != "real.env" {
		t.Errorf("the link is %s, %v", link, err)
	}
}

func TestServicesThatWereDeployedTogetherAreUndoneTogether(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push("registry.example.com/shop/migration:2", 12)
	h.mustDeploy("migration", "registry.example.com/shop/migration:2", "web", webRepository+":2")
	if err := h.deploy().Undo(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
	if !slices.Equal(h.rollouts, []string{"web", "web"}) {
		t.Errorf("the rollouts are %v, without those that web waits for", h.rollouts)
	}
	const migrated = "registry.example.com/shop/migration:2"
	h.expectRunning("migration", imageID(12), migrated+"@"+imageID(12)) // the schema is that of the new one
	if got := h.results("migration"); !slices.Equal(got, []Result{Deployed}) {
		t.Errorf("the results of the migration are %v", got)
	}
}

func TestWhatCannotBeDeployedChangesNothing(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	for want, d := range map[string]*Deploy{
		"not the name of an image":                         h.deploy("web", "--help"),
		"migration runs before web, which is not deployed": h.deploy("migration", webRepository+":2"),
		"has no service \"nothing\"":                       h.deploy("nothing", webRepository+":2"),
		"pull registry.example.com/x":                      h.deploy("web", "registry.example.com/x:1"),
	} {
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	d := h.deploy("web", webRepository+":2")
	d.Pull = "never"
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "is not on this machine") {
		t.Errorf("the error is %v", err)
	}
	h.write(PinsFile, "services:\n  web:\n    image: x\n    ports: [80]\n")
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "field ports not found") {
		t.Errorf("the error is %v", err)
	}
	unlock, err := lock(h.directory)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "is under way") {
		t.Errorf("the error is %v", err)
	}
	if len(h.rollouts) > 0 || h.read(".env") != "" {
		t.Errorf("rollouts: %v, .env: %s", h.rollouts, h.read(".env"))
	}
}
