// Package attacks tries to get past the shipped configuration, and to keep it from serving others: what a stranger sends to the
// edge, what a backend gets of it, byte for byte, and what comes back. `go test ./tests/attacks -v` prints it as a table.
package attacks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var (
	edge    *target
	backend *recordingBackend
)

func TestMain(m *testing.M) {
	if name := os.Getenv(attackerEnv); name != "" {
		os.Exit(attackerMain(name)) // this process is a stranger
	}
	flag.Parse()
	if testing.Short() {
		fmt.Println("tests/attacks: -short: left out; they run the edge")
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-attacks-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err = buildEdge(dir); err == nil {
		backend, err = newRecordingBackend()
	}
	if err == nil {
		edge, err = startEdge(filepath.Join(dir, "shipped"), nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := edge.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
