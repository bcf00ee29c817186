package backup

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/theworklabs/edge/tests/harness"
)

// drillResult is what `edge drill --json` prints.
type drillResult struct {
	Sets            map[string]string
	Logical         bool
	RecoverySeconds float64            `json:"recovery_seconds"`
	StepSeconds     map[string]float64 `json:"step_seconds"`
	Error           string
}

// drill runs a drill, and returns its result.
func (s *testStack) drill(t *testing.T, args ...string) (drillResult, error) {
	t.Helper()
	var stderr strings.Builder
	cmd := s.command(t.Context(), append([]string{"drill", "--json"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var result drillResult
	if jsonErr := json.Unmarshal(out, &result); jsonErr != nil {
		t.Fatalf("edge drill printed %q: %v\n%s", out, jsonErr, stderr.String())
	}
	t.Logf("edge drill:\n%s", stderr.String())
	return result, err
}

// TestDrillsRestoreBothWaysAndLeaveNothing restores a set that was stored under writes into a scratch project, from the physical copies and from
// the dumps: both have what the manifest says.
func TestDrillsRestoreBothWaysAndLeaveNothing(t *testing.T) {
	stop := stack.writeAll(t)
	stack.mustEdge(t, "backup")
	stop()
	before := stack.fingerprint(t)
	for _, args := range [][]string{{"latest"}, {"latest", "--logical"}} {
		result, err := stack.drill(t, args...)
		if err != nil || result.Error != "" {
			t.Errorf("drill %v: %v, %+v", args, err, result)
		}
		if len(result.Sets) == 0 || result.RecoverySeconds <= 0 || len(result.StepSeconds) < 3 {
			t.Errorf("drill %v: %+v", args, result)
		}
		t.Logf("drill %v: %.1f s, %v", args, result.RecoverySeconds, result.StepSeconds)
	}
	for _, kind := range []string{"container", "volume", "network"} {
		args := []string{kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=" + projectName + "-drill"}
		if kind == "container" {
			args = append(args, "--all")
		}
		if out := harness.MustDocker(t, args...); out != "" {
			t.Errorf("a %s of the drill is left: %s", kind, out)
		}
	}
	if got := stack.fingerprint(t); got != before {
		t.Errorf("the drill has changed the data:\n%s\nbefore:\n%s", got, before)
	}
	if out := stack.mustEdge(t, "backup", "list"); !strings.Contains(out, "passed") {
		t.Errorf("no set has passed a drill:\n%s", out)
	}
}
