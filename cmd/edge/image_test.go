package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// buildCommand matches the command that builds the edge, in the Dockerfile and in the scripts of deploy.
var buildCommand = regexp.MustCompile(`(CGO_ENABLED=0 go build .*) -o \S+ \./cmd/edge`)

// TestImageBuildsAgree compares the commands: deploy/image builds the same program as the Dockerfile, and deploy/sbom describes it.
func TestImageBuildsAgree(t *testing.T) {
	want := imageBuild(t, "deploy/image")
	for _, file := range []string{"Dockerfile", "deploy/sbom"} {
		if got := imageBuild(t, file); got != want {
			t.Errorf("%s runs %q, deploy/image %q", file, got, want)
		}
	}
}

func TestBothImagesHaveTheHealthCheck(t *testing.T) {
	for _, file := range []string{"Dockerfile", "deploy/image"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o \S+/usr/bin/edge-health"? \./cmd/edge-health\b`).Match(text) {
			t.Errorf("%s does not build edge-health", file)
		}
	}
}

// TestTheGateDoesNotChangeWithACommit: another image of the gate replaces its container, which closes the ports.
func TestTheGateDoesNotChangeWithACommit(t *testing.T) {
	for _, file := range []string{"Dockerfile", "deploy/image"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`go build -trimpath -buildvcs=false [^\n]* \./cmd/edge-gate\n`).Match(text) && !regexp.MustCompile(`go build -trimpath -buildvcs=false [^\n]* \./cmd/edge-gate \\\n`).Match(text) {
			t.Errorf("%s builds the gate with the commit in it", file)
		}
	}
}

func TestImageTellsHowToRunTheDemo(t *testing.T) {
	edge := filepath.Join(t.TempDir(), "edge")
	build := exec.CommandContext(t.Context(), "sh", "-c", imageBuild(t, "deploy/image")+` -o "$0" ./cmd/edge`, edge)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build as the image's: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // the demo would run until it is stopped
	defer cancel()
	for _, arguments := range []string{"demo", "demo --http-port 8081"} {
		out, err := exec.CommandContext(ctx, edge, strings.Fields(arguments)...).CombinedOutput()
		if _, failed := err.(*exec.ExitError); !failed {
			t.Errorf("edge %s: %v, want an exit status", arguments, err)
		}
		const want = "edge: error: this build does not contain the demo\n" +
			"edge: hint: in a clone of the repository, run: go run ./cmd/edge demo\n"
		if string(out) != want {
			t.Errorf("edge %s printed %q, want %q", arguments, out, want)
		}
	}
	packages, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "nodemo", ".").Output()
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(string(packages), "/internal/demo\n") {
		t.Error("the build of the image contains internal/demo")
	}
}

// imageBuild returns the command with which a file builds the edge, up to the name of the output.
func imageBuild(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	match := buildCommand.FindSubmatch(text)
	if match == nil {
		t.Fatalf("%s does not build the edge", file)
	}
	return string(match[1])
}
