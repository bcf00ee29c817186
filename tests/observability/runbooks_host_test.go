package observability

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/theworklabs/edge/tests/harness"
)

// TestRunbooksOfTheHost follows ClockWrong, DiskAlmostFull, DiskFillsUp and MemoryAlmostFull on this machine. An alert that waits for longer than five minutes has
// its value here, and fires in promtool's tests. It takes ten minutes: make runbooks.
func TestRunbooksOfTheHost(t *testing.T) {
	if os.Getenv("EDGE_TEST_INCIDENT") == "" {
		t.Skip("ten minutes: make runbooks")
	}
	stack.WaitReady(t, "corteza-docs:80", 1)
	t.Run("ClockWrong", followClockWrong)
	t.Run("DiskAlmostFull", followDiskAlmostFull)
	t.Run("MemoryAlmostFull", followMemoryAlmostFull)
}

// waitForHostAlert waits until an alert has one of some states; "" is that it is not there.
func waitForHostAlert(t *testing.T, within time.Duration, matchers string, states ...string) {
	t.Helper()
	harness.EventuallyWithin(t, within, fmt.Sprintf("the state of %s is one of %q", matchers, states), func() bool {
		alerts, err := stack.Alerts(t.Context(), matchers)
		if err != nil {
			return false
		}
		if len(alerts) == 0 {
			return slices.Contains(states, "")
		}
		return slices.Contains(states, alerts[0]["alertstate"])
	})
}

// followClockWrong: nothing keeps this machine's clock right, until a time service does. The service gets its time from another that has this machine's clock, so that it changes nothing.
func followClockWrong(t *testing.T) {
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err != nil {
		t.Fatal(err)
	}
	if clock.Status&unix.STA_UNSYNC == 0 {
		t.Skip("a time service keeps this machine's clock right: the fault is not there")
	}
	t.Cleanup(func() { // after the containers have ended
		if _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_STATUS | unix.ADJ_FREQUENCY, Status: clock.Status, Freq: clock.Freq}); err != nil {
			t.Errorf("the clock's status is another than before: %v", err)
		}
	})
	waitForHostAlert(t, time.Minute, `alertname="ClockWrong"`, "pending", "firing")

	dir := t.TempDir()
	chrony := func(name, config string, flags ...string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		id := harness.MustDocker(t, append([]string{
			"run", "--detach", "--rm", "--volume", file + ":/etc/chrony/chrony.conf:ro", "--cap-add", "SYS_TIME",
			"edge-test/observability:test", "timeout", "600", "chronyd", "-d",
		}, flags...)...)
		t.Cleanup(func() { _, _ = harness.RunDocker(context.Background(), "kill", id) }) // it may have ended
		return id
	}
	server := harness.MustDocker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", chrony("server", "local stratum 2\nallow\n", "-x"))
	client := chrony("client", "server "+server+" iburst\nrtcsync\n")
	harness.EventuallyWithin(t, 2*time.Minute, "chronyc tracking says that the clock is right", func() bool {
		out, err := harness.RunDocker(t.Context(), "exec", client, "chronyc", "tracking")
		return err == nil && strings.Contains(out, "Leap status     : Normal")
	})
	waitForHostAlert(t, time.Minute, `alertname="ClockWrong"`, "")
}

// followDiskAlmostFull: images that each deployment leaves behind fill the disk of a Docker Engine, until `docker image prune` removes them.
func followDiskAlmostFull(t *testing.T) {
	dir := t.TempDir()
	mountPoint := filepath.Join(dir, "disk")
	file := filepath.Join(dir, "disk.ext4")
	for _, command := range [][]string{{"truncate", "--size", "512M", file}, {"mkfs.ext4", "-q", "-m", "0", file}} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	harness.Mount(t, mountPoint, "-o", "loop", file)
	engine, err := harness.StartEngine(t.Context(), "edge-test/generic:test", "--data-root", mountPoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Remove(); err != nil {
			t.Error(err)
		}
	})
	stack.MustCompose(t, "restart", "node-exporter") // it sees the disks that were there when it started
	ofDisk := func(alert string) string { return fmt.Sprintf("alertname=%q,mountpoint=%q", alert, mountPoint) }
	waitForHostAlert(t, time.Minute, ofDisk("DiskAlmostFull"), "")

	began := time.Now()
	var images int
	for available(t, mountPoint) > 0.095 {
		images++
		context := filepath.Join(dir, strconv.Itoa(images))
		if err := os.Mkdir(context, 0o755); err != nil {
			t.Fatal(err)
		}
		version := bytes.Repeat([]byte(fmt.Sprintf("version %8d\n", images)), 10<<20/17)
		for name, text := range map[string][]byte{"version": version, "Dockerfile": []byte("FROM scratch\nCOPY version /\n")} {
			if err := os.WriteFile(filepath.Join(context, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := engine.Docker(t.Context(), "build", "--quiet", "--tag", "application", context); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		time.Sleep(time.Second) // Prometheus sees how the disk fills
	}
	waitForHostAlert(t, time.Minute, ofDisk("DiskFillsUp"), "pending")
	waitForHostAlert(t, 3*time.Minute, ofDisk("DiskAlmostFull"), "firing")
	t.Logf("DiskAlmostFull fires %v after the first of %d deployments", time.Since(began).Round(time.Second), images)
	if out, err := engine.Docker(t.Context(), "system", "df", "-v"); err != nil || !strings.Contains(out, "<none>") {
		t.Errorf("docker system df says nothing of images without a name (%v):\n%s", err, out)
	}
	if out, err := engine.Docker(t.Context(), "image", "prune", "--force"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, alert := range []string{"DiskAlmostFull", "DiskFillsUp"} {
		waitForHostAlert(t, time.Minute, ofDisk(alert), "")
	}
	if out, err := engine.Docker(t.Context(), "image", "inspect", "application"); err != nil {
		t.Errorf("the image that is in use is gone: %v\n%s", err, out)
	}
}

// available returns which part of a file system is free.
func available(t *testing.T, path string) float64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		t.Fatal(err)
	}
	return float64(s.Bavail) / float64(s.Blocks)
}

// followMemoryAlmostFull: a container takes what the machine has, but for 4 %, until it is stopped. It is the first that the kernel would end, and ends by itself.
func followMemoryAlmostFull(t *testing.T) {
	total, free := memory(t)
	take := free - total/25
	id := harness.MustDocker(t, "run", "--detach", "--rm", "--oom-score-adj", "1000", "--network", "none", "edge-test/observability:test",
		"timeout", "900", "sh", "-c", fmt.Sprintf("(head -c %d /dev/zero; sleep 900) | tail -c %d", take, take))
	t.Cleanup(func() { _, _ = harness.RunDocker(context.Background(), "kill", id) }) // it may have ended
	began := time.Now()
	waitForHostAlert(t, 10*time.Minute, `alertname="MemoryAlmostFull"`, "firing")
	t.Logf("MemoryAlmostFull fires %v after a container began to take %d MiB", time.Since(began).Round(time.Second), take>>20)
	if out := harness.MustDocker(t, "stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}"); !regexp.MustCompile(id[:12] + ` \d+(\.\d+)?GiB /`).MatchString(out) {
		t.Errorf("docker stats does not show who has the memory:\n%s", out)
	}
	harness.MustDocker(t, "stop", "--time", "1", id)
	waitForHostAlert(t, time.Minute, `alertname="MemoryAlmostFull"`, "")
}

// memory returns how many bytes of memory this machine has, and how many are available.
func memory(t *testing.T) (total, available int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch fields[0] {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	return total, available
}
