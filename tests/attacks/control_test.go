package attacks

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/harness"
)

// controlResult is what a client measures that is not an attacker. It sends a hundred requests a second, and every tenth on a new
// connection.
type controlResult struct {
	latencies []time.Duration
	errors    []error
}

// runControlClient sends requests until ctx ends.
func runControlClient(ctx context.Context, e *target) (c controlResult) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: "accounting.localhost", InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// No other client has this address: the edge limits by address.
			dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			return dialer.DialContext(ctx, "tcp", e.https)
		},
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%10 == 0 {
			transport.CloseIdleConnections()
		}
		began := time.Now()
		resp, err := client.Get("https://accounting.localhost/api/control")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		c.latencies = append(c.latencies, time.Since(began))
		if err != nil {
			c.errors = append(c.errors, err)
		}
		select {
		case <-ctx.Done():
			transport.CloseIdleConnections()
			return c
		case <-tick.C:
		}
	}
}

func (c controlResult) p99() time.Duration {
	sorted := slices.Sorted(slices.Values(c.latencies))
	return sorted[len(sorted)*99/100]
}

// baselineDuration is how long the control client is measured before an attack.
const baselineDuration = 5 * time.Second

// attackerEnv names the attack that a process of this test binary runs.
const attackerEnv = "EDGE_TEST_ATTACK"

// speedEnv tells attackers how fast this machine is now, compared with the machine that their rates were chosen on: 1 is as fast.
const speedEnv = "EDGE_TEST_SPEED"

// referenceP99 is the 99th percentile of the control client's latency on that machine without an attack.
const referenceP99 = 4500 * time.Microsecond

// machineSpeed returns how fast the machine is now, from the 99th percentile before the attack. The attack has to load the edge to
// the same degree on each machine: where other programs take half of the CPUs, the same rate would be twice the load.
func machineSpeed(p99 time.Duration) float64 {
	return min(1, max(0.1, float64(referenceP99)/float64(p99)))
}

// attackWithRetry runs an attack, and runs it again if other clients had to wait: other programs of the machine can cause that once.
func (e *target) attackWithRetry(t *testing.T, name string) []string {
	t.Helper()
	lines, before, during := e.attackOnce(t, name)
	if during > 3*before {
		t.Logf("the p99 latency of other clients is %s during the attack, and %s before; trying again", during, before)
		if lines, before, during = e.attackOnce(t, name); during > 3*before {
			t.Errorf("the p99 latency of other clients is %s during the attack, and %s before", during, before)
		}
	}
	return lines
}

// attackOnce runs an attack in a process of its own, which yields the CPUs to others (nice 19), as an attacker on another machine
// would. During the attack the edge must serve the control client, and after it the edge must free what the attack took. It
// returns what the attackers printed, and the control client's 99th percentiles before and during the attack.
func (e *target) attackOnce(t *testing.T, name string) (printed []string, p99Before, p99During time.Duration) {
	t.Helper()
	before, err := e.resourceUsage()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), baselineDuration)
	calm := runControlClient(ctx, e)
	cancel()
	backend.takeRecorded()

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	result := make(chan controlResult, 1)
	go func() { result <- runControlClient(ctx, e) }()
	process := exec.CommandContext(t.Context(), "nice", "-n", "19", os.Args[0])
	process.Env = append(os.Environ(), attackerEnv+"="+name, "EDGE_TEST_TARGET="+e.https,
		fmt.Sprintf("%s=%.2f", speedEnv, machineSpeed(calm.p99())))
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	peak := before
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if lines.Text() == "measure" {
			if peak, err = e.resourceUsage(); err != nil {
				t.Error(err)
			}
			continue
		}
		printed = append(printed, lines.Text())
	}
	if err := process.Wait(); err != nil {
		t.Errorf("the attack: %v", err)
	}
	cancel()
	loaded := <-result
	seen := 0
	for _, request := range backend.takeRecorded() {
		if request.path != "/api/control" {
			seen++
		}
	}
	if len(loaded.errors) > 0 {
		t.Errorf("%d of %d requests of other clients failed; the first: %v", len(loaded.errors), len(loaded.latencies), loaded.errors[0])
	}
	after := e.waitForRecovery(t, before)
	t.Logf("ATTACK %s | backend saw %d | client got: %s | others' p99: %s before, %s during (n = %d, %d) | edge: %s before, %s at the peak, %s after",
		name, seen, strings.Join(printed, "; "), ms(calm.p99()), ms(loaded.p99()), len(calm.latencies), len(loaded.latencies), before, peak, after)
	return printed, calm.p99(), loaded.p99()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// waitForRecovery waits until the edge has freed the goroutines and files that an attack took. The edge closes idle connections to
// the backend after three seconds; those of clients last until the client closes them.
func (e *target) waitForRecovery(t *testing.T, before resourceUsage) resourceUsage {
	t.Helper()
	const slack = 20 // goroutines and files that come and go without an attack
	var now resourceUsage
	err := harness.EventuallyContext(t.Context(), 45*time.Second, "the edge has freed what the attack took", func() bool {
		var err error
		if now, err = e.resourceUsage(); err != nil {
			t.Fatal(err)
		}
		return now.goroutines <= before.goroutines+slack && now.files <= before.files+slack
	})
	if err != nil {
		t.Errorf("%v: it has %s, and had %s before", err, now, before)
	}
	return now
}
