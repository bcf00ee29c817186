package socketio

import (
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir: "tests/socketio",
		Requires: []harness.Requirement{
			harness.Docker, harness.Compose, harness.Node, harness.Images("edge:dev", "edge-gate:dev", "edge-test/socketio:test"),
		},
	})
}
