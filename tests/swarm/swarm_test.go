package swarm

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// service is the backends of a test.
type service struct {
	onTerm    string // what they do on SIGTERM: tests/backends/app
	bootDelay time.Duration
	order     string // of updates
	replicas  int
}

// start creates the service, which the end of the test removes.
func (s service) start(t *testing.T) {
	t.Helper()
	mustDocker(t, "service", "create", "--detach", "--quiet", "--name", "web", "--network", "lab", "--endpoint-mode", "dnsrr", "--replicas", strconv.Itoa(s.replicas),
		"--env", "ON_TERM="+s.onTerm, "--env", "BOOT_DELAY="+s.bootDelay.String(), "--update-order", s.order, "--update-monitor", "1s", "--stop-grace-period", "10s",
		"--restart-delay", "1s", backendImage)
	t.Cleanup(func() { mustDocker(t, "service", "rm", "web") })
	s.eventuallyRuns(t)
}

func (s service) eventuallyRuns(t *testing.T) {
	t.Helper()
	if err := cluster.EventuallyReplicas(t.Context(), "web", s.replicas); err != nil {
		t.Fatal(err)
	}
}

// update replaces all tasks.
func (s service) update(t *testing.T) {
	t.Helper()
	mustDocker(t, "service", "update", "--quiet", "--force", "web") // it waits until all are replaced
	s.eventuallyRuns(t)
}

// TestUpdates replaces the tasks of a service, in both orders. In the order stop-first, a service with one task has none for a while.
func TestUpdates(t *testing.T) {
	for _, s := range []service{
		{"rude", 0, "start-first", 1},
		{"rude", 0, "stop-first", 1},
		{"rude", time.Second, "stop-first", 3},
		{"polite", 0, "stop-first", 1},
		{"deaf", 0, "start-first", 1},
	} {
		what := fmt.Sprintf("%s, %d of %s, which boots for %s", s.order, s.replicas, s.onTerm, s.bootDelay)
		t.Run(what, func(t *testing.T) {
			s.start(t)
			p := startPair(t, cluster.Nodes...)
			for range rounds(t) {
				s.update(t)
				time.Sleep(2 * time.Second)
			}
			maxPOST := 0
			if s.order == "stop-first" {
				maxPOST = 1
			}
			p.wantLost(t, what, maxPOST)
		})
	}
}

// TestScaleToZero: a service without a task is known, so that requests wait.
func TestScaleToZero(t *testing.T) {
	s := service{"rude", 0, "stop-first", 1}
	s.start(t)
	p := startPair(t, cluster.Nodes...)
	mustDocker(t, "service", "scale", "--detach", "web=0")
	time.Sleep(8 * time.Second)
	mustDocker(t, "service", "scale", "--detach", "web=1")
	s.eventuallyRuns(t)
	time.Sleep(2 * time.Second)
	p.wantLost(t, "scaled to 0 and back", 0)
}

// TestANodeIsDrained: its tasks move elsewhere.
func TestANodeIsDrained(t *testing.T) {
	s := service{"rude", 0, "stop-first", 3}
	s.start(t)
	nodes := cluster.Nodes[:2]
	p := startPair(t, nodes...)
	t.Cleanup(func() { mustDocker(t, "node", "update", "--availability", "active", "node-3") })
	mustDocker(t, "node", "update", "--availability", "drain", "node-3")
	s.eventuallyRuns(t)
	time.Sleep(3 * time.Second)
	p.wantLost(t, "a node is drained", 0)
}

// TestANodeIsCutOff: its power fails, or its network. A POST that was on its way there has an unknown outcome.
func TestANodeIsCutOff(t *testing.T) {
	s := service{"rude", 0, "stop-first", 3}
	s.start(t)
	p := startPair(t, cluster.Nodes[:2]...)
	time.Sleep(3 * time.Second)
	gone := cluster.Nodes[2]
	t.Cleanup(func() {
		if err := gone.Reconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := gone.CutOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(40 * time.Second) // after 15 s, the manager calls the node down
	p.wantSentElsewhere(t, "a node is cut off")
}

// TestTheManagerFreezes: DNS decides meanwhile.
func TestTheManagerFreezes(t *testing.T) {
	s := service{"rude", 0, "stop-first", 3}
	s.start(t)
	p := startPair(t, cluster.Nodes...)
	time.Sleep(2 * time.Second)
	manager := cluster.Manager()
	if err := manager.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(12 * time.Second)
	if err := manager.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	p.wantLost(t, "the manager is frozen for 12 s", 0)
}

// TestTheOverlayIsCut: a node's containers can't be reached, while its manager still hears from it and wants its tasks to run.
func TestTheOverlayIsCut(t *testing.T) {
	s := service{"rude", 0, "stop-first", 3}
	s.start(t)
	p := startPair(t, cluster.Nodes[:2]...)
	time.Sleep(3 * time.Second)
	gone := cluster.Nodes[2]
	t.Cleanup(func() {
		if err := gone.CutOverlay(context.Background(), false); err != nil {
			t.Error(err)
		}
	})
	if err := gone.CutOverlay(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Second)
	p.wantSentElsewhere(t, "the overlay of a node is cut")
}

// TestManyServices updates a service among 500 others.
func TestManyServices(t *testing.T) {
	const others = 500
	t.Cleanup(func() {
		names := make([]string, others)
		for i := range names {
			names[i] = fmt.Sprintf("other%d", i)
		}
		mustDocker(t, append([]string{"service", "rm"}, names...)...)
	})
	for i := range others {
		mustDocker(t, "service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", fmt.Sprintf("other%d", i), "--network", "lab", "--endpoint-mode", "dnsrr", "--replicas", "0", backendImage)
	}
	s := service{"rude", 0, "start-first", 3}
	s.start(t)
	p := startPair(t, cluster.Nodes...)
	s.update(t)
	time.Sleep(2 * time.Second)
	p.wantLost(t, "an update among 500 services", 0)
}
