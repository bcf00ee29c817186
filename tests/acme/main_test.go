// Package acme tests the shipped stack with a real certificate authority, Pebble, which works or fails, on a real Docker Engine.
// `go test ./tests/acme -v` prints a line about each case.
package acme

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// gateway is the address of the host, as containers reach it.
var gateway string

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:      "tests/acme",
		Requires: []harness.Requirement{harness.Docker, harness.Compose, harness.Images("edge:dev", "edge-gate:dev", "edge-test/observability:test")},
		Setup: func(string) error {
			// Most of the time, each test waits for an edge to try again.
			return errors.Join(flag.Set("test.parallel", "5"), findGateway())
		},
	})
}

// findGateway finds the address of Docker's bridge.
func findGateway() error {
	bridge, err := net.InterfaceByName("docker0")
	if err != nil {
		return fmt.Errorf("find Docker's bridge: %w", err)
	}
	addrs, err := bridge.Addrs()
	if err != nil || len(addrs) == 0 {
		return fmt.Errorf("docker0 has no address (%v)", err)
	}
	gateway, _, _ = strings.Cut(addrs[0].String(), "/")
	return nil
}
