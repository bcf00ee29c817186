// Package acme tries the shipped stack against a real certificate authority, in order and out of order: Pebble, on a real
// Docker Engine. `go test ./tests/acme -v` prints a line about each case.
package acme

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	edgeBinary string // for `edge init`; the edge itself runs from its image
	gateway    string // the host, as containers reach it
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("tests/acme: -short: left out; it needs a Docker Engine")
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-acme-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := prepare(dir); err != nil {
		fmt.Fprintf(os.Stderr, "edge: error: %v\nedge: hint: run `make test`, or tests/setup and make image; `go test -short ./...` needs no Docker\n", err)
		return 1
	}
	return m.Run()
}

func prepare(dir string) error {
	edgeBinary = filepath.Join(dir, "edge")
	if out, err := exec.Command("go", "build", "-o", edgeBinary, "../../cmd/edge").CombinedOutput(); err != nil {
		return fmt.Errorf("build the edge: %w\n%s", err, out)
	}
	bridge, err := net.InterfaceByName("docker0")
	if err != nil {
		return fmt.Errorf("find Docker's bridge: %w", err)
	}
	addrs, err := bridge.Addrs()
	if err != nil || len(addrs) == 0 {
		return fmt.Errorf("docker's bridge has no address (%v)", err)
	}
	gateway, _, _ = strings.Cut(addrs[0].String(), "/")
	return nil
}
