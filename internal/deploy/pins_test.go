package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theworklabs/edge/internal/hint"
)

// TestABuildDoesNotReplaceAPinnedImage: docker compose up --build would give what it builds the name of the pinned image.
func TestABuildDoesNotReplaceAPinnedImage(t *testing.T) {
	h := newFakeHost(t)
	h.services["web"].Build = json.RawMessage(`{"context": "."}`)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	h.services["web"].Build = nil // as Compose reads it now
	h.mustDeploy("web", webRepository+":2")
	if pins := h.read(PinsFile); !strings.Contains(pins, "pull_policy: missing\n    build: !reset null\n") {
		t.Errorf("the file is\n%s", pins)
	}
}

// TestVariablesInTextsStay: Compose would replace them, or refuse the file.
func TestVariablesInTextsStay(t *testing.T) {
	directory := t.TempDir()
	pins, err := ReadPins(directory)
	if err != nil {
		t.Fatal(err)
	}
	pins.begin("web", Deployment{Image: "web:2", Pinned: "web:2", Result: Failed, By: "$USER", Error: "no ${PASSWORD:?}"}, false)
	if err := pins.write(directory); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(directory, PinsFile))
	if err != nil || !strings.Contains(string(text), "no $${PASSWORD:?}") || !strings.Contains(string(text), "$$USER") {
		t.Errorf("%v, the file is\n%s", err, text)
	}
	if pins, err = ReadPins(directory); err != nil || pins.last("web").Error != "no ${PASSWORD:?}" {
		t.Errorf("%v, %+v", err, pins.last("web"))
	}
}

func TestTwoProjectsInOneDirectoryAreRefused(t *testing.T) {
	h := newFakeHost(t)
	h.write(PinsFile, "x-edge-project: other\n")
	h.push(webRepository+":2", 2)
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "is of the project other, not of shop") {
		t.Errorf("the error is %v", err)
	}
	if len(h.rollouts) > 0 {
		t.Errorf("the rollouts are %v", h.rollouts)
	}
}

func TestUnpin(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.mustDeploy("web", webRepository+":2")
	if err := h.deploy().Unpin(t.Context(), []string{"edge"}); err == nil || !strings.Contains(err.Error(), `does not name "edge"`) {
		t.Errorf("the error is %v", err)
	}
	if err := h.deploy().Unpin(t.Context(), []string{"web"}); err != nil || !strings.Contains(h.out.String(), "edge rollout web") {
		t.Errorf("%v, printed %s", err, h.out.String())
	}
	h.expectRunning("web", imageID(2), "")
	if got := h.results("web"); !slices.Equal(got, []Result{Deployed}) {
		t.Errorf("the results are %v", got)
	}
	h.mustUndo("web")
	h.expectRunning("web", imageID(1), "shop/web:edge-000000000001")
}

// newHostWithWeb2 returns a host on which web:2 was deployed, and whose registry has web:3.
func newHostWithWeb2(t *testing.T) *fakeHost {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.push(webRepository+":3", 3)
	h.mustDeploy("web", webRepository+":2")
	return h
}

// TestWhatRunsCountsMoreThanThePins: it was rolled out by hand since.
func TestWhatRunsCountsMoreThanThePins(t *testing.T) {
	h := newHostWithWeb2(t)
	h.images["shop/web:hotfix"] = imageID(7)
	h.running["web"], h.runningID["web"] = "shop/web:hotfix", imageID(7)
	h.mustDeploy("web", webRepository+":3")
	h.mustUndo("web")
	h.expectRunning("web", imageID(7), "shop/web:edge-000000000007")
}

// TestADeploymentThatWasKilledAtItsEndHasSucceeded: what runs is its image.
func TestADeploymentThatWasKilledAtItsEndHasSucceeded(t *testing.T) {
	h := newHostWithWeb2(t)
	pins, err := ReadPins(h.directory)
	if err != nil {
		t.Fatal(err)
	}
	pins.last("web").Result = Started
	if err := pins.write(h.directory); err != nil {
		t.Fatal(err)
	}
	h.failAt = 2
	if err := h.deploy("web", webRepository+":3").Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	h.expectRunning("web", imageID(2), webRepository+":2@"+imageID(2))
	if got := h.results("web"); !slices.Equal(got, []Result{Deployed, Failed}) {
		t.Errorf("the results are %v", got)
	}
}

// TestNothingIsPinnedWhileAnotherRolloutIsUnderWay: it would read the pins.
func TestNothingIsPinnedWhileAnotherRolloutIsUnderWay(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.isLocked = true
	if err := h.deploy("web", webRepository+":2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another rollout of web") {
		t.Errorf("the error is %v", err)
	}
	if h.read(PinsFile) != "" || h.read(".env") != "" {
		t.Errorf("the files are %s and %s", h.read(PinsFile), h.read(".env"))
	}
}

// TestALocalImageIsTakenIfNoRegistryHasIt, and that is said; one that a registry had is not.
func TestALocalImageIsTakenIfNoRegistryHasIt(t *testing.T) {
	h := newFakeHost(t)
	h.images["shop/web:dev"] = imageID(5)
	h.mustDeploy("web", "shop/web:dev")
	h.expectRunning("web", imageID(5), "shop/web:edge-000000000005")
	if !strings.Contains(h.out.String(), "no registry has shop/web:dev") {
		t.Errorf("printed %s", h.out.String())
	}
	h.images["shop/web:dev2"] = imageID(6)
	h.digests[imageID(6)] = []string{"shop/web@" + imageID(6)} // built here, too, with containerd's image store
	if err := h.deploy("web", "shop/web:dev2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "pull shop/web:dev2") {
		t.Errorf("the error is %v", err)
	}
	d := h.deploy("web", "shop/web:dev2")
	d.Pull = "never"
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.expectRunning("web", imageID(6), "shop/web:dev2@"+imageID(6))
	if h.images["shop/web:edge-000000000006"] != imageID(6) {
		t.Error("the image has no tag of its own, and could be pruned")
	}
}

// TestTagsOfForgottenDeploymentsAreRemoved, so that the images can be pruned.
func TestTagsOfForgottenDeploymentsAreRemoved(t *testing.T) {
	h := newFakeHost(t)
	for n := range maxDeployments + 2 {
		h.images["shop/web:dev"] = imageID(100 + n)
		h.mustDeploy("web", "shop/web:dev")
	}
	if id := h.images["shop/web:edge-000000000064"]; id != "" {
		t.Errorf("the image of the first deployment still has its tag: %s", id)
	}
	for _, n := range []string{"66", "79"} {
		if h.images["shop/web:edge-0000000000"+n] == "" {
			t.Errorf("the image %s has lost its tag", n)
		}
	}
}

func TestASecondServiceThatFailsUndoesTheFirst(t *testing.T) {
	h := newFakeHost(t)
	h.services["api"] = h.services["edge"]
	h.running["api"], h.runningID["api"], h.images["edge:dev"] = "edge:dev", imageID(30), imageID(30)
	h.push(webRepository+":2", 2)
	h.push("registry.example.com/shop/api:2", 31)
	h.failAt = 1
	h.onRollout = func() { // the first one is done
		if len(h.rollouts) == 1 {
			h.running["api"], h.runningID["api"] = "registry.example.com/shop/api:2", imageID(31)
			h.starts["api"]++
		}
	}
	err := h.deploy("api", "registry.example.com/shop/api:2", "web", webRepository+":2").Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the version before runs again") {
		t.Errorf("the error is %v", err)
	}
	h.expectRunning("api", imageID(30), "edge:edge-00000000001e")
	h.expectRunning("web", imageID(1), "")
	if !slices.Equal(h.rollouts, []string{"api web", "api"}) {
		t.Errorf("the rollouts are %q", h.rollouts)
	}
}

func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	h := newFakeHost(t)
	if err := h.deploy("web", "web:1", "web", "web:2").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "web is there twice") {
		t.Errorf("the error is %v", err)
	}
}

// TestAResultThatCannotBeStoredIsAWarning: the new version serves.
func TestAResultThatCannotBeStoredIsAWarning(t *testing.T) {
	h := newFakeHost(t)
	h.push(webRepository+":2", 2)
	h.onUnlock = func() {
		name := filepath.Join(h.directory, PinsFile)
		if err := errors.Join(os.Remove(name), os.MkdirAll(filepath.Join(name, "full"), 0o755)); err != nil {
			t.Error(err)
		}
	}
	h.mustDeploy("web", webRepository+":2")
	if h.runningID["web"] != imageID(2) || !strings.Contains(h.out.String(), "warning: compose.deploy.yaml does not have the result") {
		t.Errorf("printed %s", h.out.String())
	}
}

// TestAFileOfALaterVersionIsRead: going back to an earlier program must not take away the undo. What people have added is refused, since it would be lost.
func TestAFileOfALaterVersionIsRead(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, PinsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("services:\n  web: {image: web@sha256:1}\nx-edge-deploy:\n  web:\n    - {image: web:1, pinned: web@sha256:1, time: 2026-11-30T00:00:00Z, result: deployed, later: 1}\nx-edge-later: {a: b}\n")
	p, err := ReadPins(dir)
	if err != nil || len(p.Deployments["web"]) != 1 || p.Deployments["web"][0].Pinned != "web@sha256:1" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if err := p.write(dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, PinsFile)); err != nil || !strings.Contains(string(text), "x-edge-later:") {
		t.Errorf("what the later version has written is lost: %v\n%s", err, text)
	}
	for _, text := range []string{"services:\n  web: {image: a, ports: [\"80\"]}\n", "networks: {}\n", "x-other: 1\n"} {
		write(text)
		if _, err := ReadPins(dir); err == nil || !strings.Contains(hint.Of(err), "move that to another compose file") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
