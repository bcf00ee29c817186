// Package tests is the end-to-end suite: the shipped stack, and a small one for failures, on a real Docker Engine with
// real Compose. `make test` sets up what it needs; tests/setup alone does that part.
package tests

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// edgeBinary is the edge, built once for all tests.
var edgeBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("tests: -short: the end-to-end tests are left out; they need a Docker Engine")
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	if err := checkSetup(); err != nil {
		fmt.Fprintf(os.Stderr, "edge: error: %v\nedge: hint: run `make test`, or tests/setup; `go test -short ./...` needs no Docker\n", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "edge-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	edgeBinary = filepath.Join(dir, "edge")
	if out, err := exec.Command("go", "build", "-o", edgeBinary, "../cmd/edge").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the edge: %v\n%s", err, out)
		return 1
	}
	defer shipped.down()
	return m.Run()
}

// checkSetup returns what is missing.
func checkSetup() error {
	for _, probe := range [][]string{
		{"docker", "info"},
		{"docker", "compose", "version"},
		{"docker", "image", "inspect", "edge:dev", "edge-test/generic:test", "edge-test/bigcapital-server:test"},
		{"node", "--version"},
		{"ip", "-Version"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		out, err := exec.CommandContext(ctx, probe[0], probe[1:]...).CombinedOutput()
		cancel()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			return fmt.Errorf("`%s` fails: %s", strings.Join(probe, " "), lines[len(lines)-1])
		}
	}
	return nil
}
