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
)

// controlResult is a client that is none of the attackers: it asks a hundred times a second, and every tenth time on a new connection.
type controlResult struct {
	latencies []time.Duration
	errors    []error
}

// runControlClient asks until ctx ends, and then says what became of it.
func runControlClient(ctx context.Context, t *target) (c controlResult) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: "accounting.localhost", InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			// An address of its own: limits are by address.
			dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			return dialer.DialContext(ctx, "tcp", t.https)
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

// attackerEnv makes a process of this test binary a stranger, who runs the attack that it names.
const attackerEnv = "EDGE_TEST_ATTACK"

// speedEnv tells the attackers how fast this machine is today, as a part of the one that their rates were chosen on.
const speedEnv = "EDGE_TEST_SPEED"

// referenceP99 is how long the slowest 1 % of the control client's requests take on that machine when nobody attacks.
const referenceP99 = 4500 * time.Microsecond

// machineSpeed returns how fast the machine is, by the control client's slowest 1 % before the attack. A rate is a part of what the edge
// can do: on a machine that others slow down by half, the same number of requests a second is twice the attack.
func machineSpeed(calmly time.Duration) float64 {
	return min(1, max(0.25, float64(referenceP99)/float64(calmly)))
}

// attackWithRetry runs an attack, and again if others were kept waiting: on a machine with other users that may be anyone's doing once.
func (t *target) attackWithRetry(tt *testing.T, name string) []string {
	tt.Helper()
	said, before, meanwhile := t.attackOnce(tt, name)
	if meanwhile > 3*before {
		tt.Logf("the slowest 1 %% of others' requests took %s, and %s before: once more", meanwhile, before)
		if said, before, meanwhile = t.attackOnce(tt, name); meanwhile > 3*before {
			tt.Errorf("the slowest 1 %% of others' requests took %s, and %s before", meanwhile, before)
		}
	}
	return said
}

// attackOnce runs an attack, by a process of its own that leaves the processors to others when they want them, as a machine
// elsewhere would. Meanwhile a client that has nothing to do with it must be served, and afterwards nothing must be left of it.
// It returns what the attackers say became of them, and how long the slowest 1 % of others' requests took before and meanwhile.
func (t *target) attackOnce(tt *testing.T, name string) (said []string, calmly, meanwhile time.Duration) {
	tt.Helper()
	before, err := t.resourceUsage()
	if err != nil {
		tt.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tt.Context(), baselineDuration)
	peace := runControlClient(ctx, t)
	cancel()
	backend.takeRecorded()

	ctx, cancel = context.WithCancel(tt.Context())
	defer cancel()
	result := make(chan controlResult, 1)
	go func() { result <- runControlClient(ctx, t) }()
	stranger := exec.CommandContext(tt.Context(), "nice", "-n", "19", os.Args[0])
	stranger.Env = append(os.Environ(), attackerEnv+"="+name, "EDGE_TEST_TARGET="+t.https,
		fmt.Sprintf("%s=%.2f", speedEnv, machineSpeed(peace.p99())))
	stranger.Stderr = os.Stderr
	output, err := stranger.StdoutPipe()
	if err != nil {
		tt.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		tt.Fatal(err)
	}
	peak := before
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if lines.Text() == "measure" {
			if peak, err = t.resourceUsage(); err != nil {
				tt.Error(err)
			}
			continue
		}
		said = append(said, lines.Text())
	}
	if err := stranger.Wait(); err != nil {
		tt.Errorf("the attack: %v", err)
	}
	cancel()
	war := <-result
	seen := 0
	for _, e := range backend.takeRecorded() {
		if e.path != "/api/control" {
			seen++
		}
	}
	if len(war.errors) > 0 {
		tt.Errorf("%d of %d requests of others failed, such as: %v", len(war.errors), len(war.latencies), war.errors[0])
	}
	after := t.waitForRecovery(tt, before)
	tt.Logf("ATTACK %s | backend saw %d | client got: %s | others' p99: %s before, %s meanwhile (n = %d, %d) | edge: %s before, %s at most, %s after",
		name, seen, strings.Join(said, "; "), ms(peace.p99()), ms(war.p99()), len(peace.latencies), len(war.latencies), before, peak, after)
	return said, peace.p99(), war.p99()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// waitForRecovery waits until the edge has given back what an attack took. Idle connections to the backend last three seconds, those of
// clients until they are closed.
func (t *target) waitForRecovery(tt *testing.T, before resourceUsage) resourceUsage {
	tt.Helper()
	const slack = 20 // what comes and goes by itself
	for deadline := time.Now().Add(45 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		now, err := t.resourceUsage()
		if err != nil {
			tt.Fatal(err)
		}
		if now.goroutines <= before.goroutines+slack && now.files <= before.files+slack {
			return now
		}
		if time.Now().After(deadline) {
			tt.Errorf("something is left: %s, and before %s", now, before)
			return now
		}
	}
}
