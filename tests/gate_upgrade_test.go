package tests

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/clients"
	"github.com/theworklabs/edge/tests/harness"
)

// TestUpgradeToTheGate is the way from a compose file without a gate and back, as docs/rollout.md has it.
func TestUpgradeToTheGate(t *testing.T) {
	harness.LongOnly(t, "test-long")
	s := newHTTPSStack(t, "upgrade")
	with, err := os.ReadFile(s.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	without := withoutGate(t, string(with))
	s.write(t, "front/compose.yaml", without)
	s.MustCompose(t, "up", "--detach", "--wait")
	s.startShop(t)

	s.write(t, "front/compose.yaml", string(with))
	if out := s.run(t, "front", "check", "--project-name", s.Name); !strings.Contains(out, "which runs from before it had a gate") {
		t.Errorf("edge check does not say what happens:\n%s", out)
	}
	if out := s.fail(t, "front", "rollout", "--project-name", s.Name, "edge"); !strings.Contains(out, "docker compose up --detach, once and at a quiet time") {
		t.Errorf("a rollout of the edge does not say what to do:\n%s", out)
	}
	t.Logf("the upgrade: no response for %.1f s", s.downtime(t, func() { s.MustCompose(t, "up", "--detach") }).Seconds())
	s.rollOutEdge(t, "--drain-timeout", "3s")
	t.Logf("a restart of the gate: no response for %.1f s", s.downtime(t, func() { s.MustCompose(t, "restart", "gate") }).Seconds())
	t.Logf("the gate killed: no response for %.1f s", s.downtime(t, func() { s.kill(t, "gate") }).Seconds())
	s.write(t, "front/compose.yaml", without)
	t.Logf("the way back: no response for %.1f s", s.downtime(t, func() { s.MustCompose(t, "up", "--detach", "--remove-orphans") }).Seconds())
}

// kill ends the program of a service as a lack of memory would: Docker starts it again.
func (s *ownStack) kill(t *testing.T, service string) {
	t.Helper()
	pid, err := strconv.Atoi(harness.MustDocker(t, "inspect", "--format", "{{.State.Pid}}", s.container(t, service)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, service+" runs again", func() bool {
		now := harness.MustDocker(t, "inspect", "--format", "{{.State.Pid}}", s.container(t, service))
		return now != "0" && now != strconv.Itoa(pid)
	})
}

// downtime changes something, and returns the longest time without a response meanwhile.
func (s *ownStack) downtime(t *testing.T, change func()) time.Duration {
	t.Helper()
	client := clients.All("shop.localhost")[3].New(time.Second) // a connection for each request
	done := make(chan struct{})
	go func() {
		defer close(done)
		change()
	}()
	var longest time.Duration
	last, isDone := time.Now(), false
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := s.get(client); err == nil {
			longest = max(longest, time.Since(last))
			last = time.Now()
			if isDone {
				return longest
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the edge does not serve any more")
		}
		select {
		case <-done:
			isDone = true
		case <-time.After(20 * time.Millisecond):
		}
	}
}
