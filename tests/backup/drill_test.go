package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
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
// the dumps: both have what the manifest says. The short form has the dumps only: its other tests restore physical copies.
func TestDrillsRestoreBothWaysAndLeaveNothing(t *testing.T) {
	stop := stack.writeAll(t)
	stack.mustEdge(t, "backup")
	stop()
	before := stack.fingerprint(t)
	packets := countPackets(t, projectName+"-drill")
	drills := [][]string{{"latest", "--logical"}}
	if harness.IsLong() {
		drills = append(drills, []string{"latest"})
	}
	for _, args := range drills {
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
	gateway := harness.MustDocker(t, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", name)
	if err := multicast(gateway); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the network is seen", func() bool {
		if err := multicast(gateway); err != nil {
			t.Fatal(err)
		}
		networks, left := packets()
		if left != 0 {
			t.Fatalf("%d packets of the host are counted", left)
		}
		return networks == 1
	})
	harness.Eventually(t, "packets of a container are counted", func() bool {
		harness.MustDocker(t, "run", "--rm", "--network", name, "edge-test/base:test", "bash", "-c", "timeout 1 bash -c '>/dev/tcp/192.0.2.1/9' || true")
		networks, left := packets()
		return networks == 1 && left > 0
	})
}

// multicast sends a packet from one of the host's addresses to the group of mDNS.
func multicast(from string) error {
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("edge"))
	return err
}

// packetCounter counts the packets that the containers of a project send out of its networks, by rules of the host's firewall.
type packetCounter struct {
	t       *testing.T
	project string

	mu    sync.Mutex
	rules map[string][][]string // of the networks that are there, by their IDs
	seen  int                   // networks
	left  int                   // packets of networks that are gone
}

// countPackets counts from now on. The function returns how many networks there were, and how many packets have left them.
func countPackets(t *testing.T, project string) func() (networks, packets int) {
	t.Helper()
	c := &packetCounter{t: t, project: project, rules: make(map[string][][]string)}
	ctx, cancel := context.WithCancel(context.Background())
	events := exec.CommandContext(ctx, "docker", "events", "--filter", "type=network", "--format", "{{.Action}}")
	out, err := events.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if action := lines.Text(); action == "create" || action == "destroy" {
				c.mu.Lock()
				c.update()
				c.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		_ = events.Wait()
		for id := range c.rules {
			c.remove(id)
		}
	})
	return func() (networks, packets int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.update()
		packets = c.left
		for id := range c.rules {
			packets += c.count(id)
		}
		return c.seen, packets
	}
}

// update adds the rules of new networks, and removes those of networks that are gone: others get their addresses.
func (c *packetCounter) update() {
	ids, err := harness.RunDocker(context.Background(), "network", "ls", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.project="+c.project)
	if err != nil {
		c.t.Error(err)
		return
	}
	there := strings.Fields(ids)
	for id := range c.rules {
		if !slices.Contains(there, id) {
			c.remove(id)
		}
	}
	for _, id := range there {
		if c.rules[id] != nil {
			continue
		}
		subnet, err := harness.RunDocker(context.Background(), "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", id)
		if subnet = strings.TrimSpace(subnet); err != nil || subnet == "" {
			continue // it is removed already
		}
		c.seen++
		c.rules[id] = [][]string{
			// The source is still the container's: addresses are translated later. The host has an address of the network, too: a browser that
			// looks for devices in all networks sends from there.
			{"POSTROUTING", "--source", subnet, "!", "--destination", subnet, "--match", "addrtype", "!", "--src-type", "LOCAL", "--match", "comment", "--comment", id[:12]},
			{"POSTROUTING", "--source", subnet, "--destination", "192.0.2.0/24", "--jump", "DROP"}, // nothing leaves this machine, whatever the test finds
		}
		for _, rule := range c.rules[id] {
			c.iptables(append([]string{"--append"}, rule...)...)
		}
	}
}

// remove removes the rules of a network, and keeps what they have counted.
func (c *packetCounter) remove(id string) {
	c.left += c.count(id)
	for _, rule := range c.rules[id] {
		c.iptables(append([]string{"--delete"}, rule...)...)
	}
	delete(c.rules, id)
}

// count returns how many packets have left a network.
func (c *packetCounter) count(id string) (packets int) {
	for line := range strings.Lines(c.iptables("--list", "POSTROUTING", "--numeric", "--verbose", "--exact")) {
		if strings.Contains(line, "/* "+id[:12]+" */") {
			packets, _ = strconv.Atoi(strings.Fields(line)[0])
		}
	}
	return packets
}

func (c *packetCounter) iptables(args ...string) string {
	out, err := exec.Command("iptables", append([]string{"--wait", "--table", "mangle"}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Errorf("iptables %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
