// Package tests is the end-to-end suite: the shipped stack, and small ones for failures, on a real Docker Engine with real
// Compose. `make test` sets up what it needs; tests/setup does only that part.
package tests

import (
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose, harness.Node, harness.IPRoute,
			harness.Images("edge:dev", "edge-gate:dev", "edge-test/generic:test", "edge-test/bigcapital-server:test"),
		},
		Teardown: shipped.finish,
	})
}
