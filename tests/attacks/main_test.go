// Package attacks tries to get past the shipped configuration, and to keep it from serving others. A case shows what an attacker
// sends to the edge, what a backend gets of it, byte for byte, and what comes back. `go test ./tests/attacks -v` prints all cases
// as a table.
package attacks

import (
	"path/filepath"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

var (
	edge    *target
	backend *recordingBackend
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.Suite{
		Dir:       "tests/attacks",
		Processes: map[string]func(string) int{attackerEnv: attackerMain},
		Setup:     startTargets,
		Teardown:  stopEdge,
	})
}

// startTargets starts the edge that most tests attack, and its backend.
func startTargets(dir string) (err error) {
	if backend, err = newRecordingBackend(); err != nil {
		return err
	}
	edge, err = startEdge(filepath.Join(dir, "shipped"), nil)
	return err
}

func stopEdge(bool) error {
	if edge == nil {
		return nil
	}
	return edge.stop()
}
