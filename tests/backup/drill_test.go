package backup

import (
	"context"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
	packets := countPackets(t, projectName+"-drill")
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
	if networks, left := packets(); networks == 0 || left != 0 {
		t.Errorf("%d packets have left the %d networks of the drills", left, networks)
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

// TestPacketsThatLeaveANetworkAreCounted: what the test of drills relies on.
func TestPacketsThatLeaveANetworkAreCounted(t *testing.T) {
	name := projectName + "-outside"
	packets := countPackets(t, name)
	harness.MustDocker(t, "network", "create", "--label", "com.docker.compose.project="+name, name)
	t.Cleanup(func() { harness.MustDocker(t, "network", "rm", name) })
	harness.Eventually(t, "the network is seen", func() bool {
		harness.MustDocker(t, "run", "--rm", "--network", name, "edge-test/base:test", "bash", "-c", "timeout 1 bash -c '>/dev/tcp/192.0.2.1/9' || true")
		networks, left := packets()
		return networks == 1 && left > 0
	})
}

// countPackets counts the packets that leave the networks of a project, by rules of the host's firewall, from now on. The function returns how many
// networks there were, and how many packets have left them.
func countPackets(t *testing.T, project string) func() (networks, packets int) {
	t.Helper()
	type rule struct {
		args    [][]string
		packets int
	}
	rules := make(map[string]*rule) // by the ID of the network
	iptables := func(args ...string) string {
		out, err := exec.Command("iptables", append([]string{"--wait", "--table", "mangle"}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("iptables %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// The source is still the container's: addresses are translated later.
	update := func() {
		ids, _ := harness.RunDocker(context.Background(), "network", "ls", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.project="+project)
		for _, id := range strings.Fields(ids) {
			if rules[id] != nil {
				continue
			}
			subnet, err := harness.RunDocker(context.Background(), "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", id)
			if subnet = strings.TrimSpace(subnet); err != nil || subnet == "" {
				continue // it is removed already
			}
			count := []string{"POSTROUTING", "--source", subnet, "!", "--destination", subnet, "--match", "comment", "--comment", id[:12]}
			drop := []string{"POSTROUTING", "--source", subnet, "--destination", "192.0.2.0/24", "--jump", "DROP"} // nothing leaves this machine, whatever the test finds
			iptables(append([]string{"--append"}, count...)...)
			iptables(append([]string{"--append"}, drop...)...)
			rules[id] = &rule{args: [][]string{count, drop}}
		}
		for line := range strings.Lines(iptables("--list", "POSTROUTING", "--numeric", "--verbose", "--exact")) {
			for id, r := range rules {
				if fields := strings.Fields(line); strings.Contains(line, "/* "+id[:12]+" */") {
					r.packets, _ = strconv.Atoi(fields[0])
				}
			}
		}
	}
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			mu.Lock()
			update()
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, r := range rules {
			for _, args := range r.args {
				iptables(append([]string{"--delete"}, args...)...)
			}
		}
	})
	return func() (networks, packets int) {
		mu.Lock()
		defer mu.Unlock()
		update()
		for _, r := range rules {
			packets += r.packets
		}
		return len(rules), packets
	}
}
