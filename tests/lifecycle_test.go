package tests

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/tests/harness"
)

// TestOOMKilledContainerGetsNoRequests: nobody tells the container to stop, so its death is the first event.
func TestOOMKilledContainerGetsNoRequests(t *testing.T) {
	t.Parallel()
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	id := p.container(t, "api")
	harness.MustDocker(t, "update", "--memory", "64m", "--memory-swap", "64m", id)
	// tail allocates memory; oom_score_adj makes the kernel kill the container's first process.
	_, _ = p.Compose(t.Context(), "exec", "-T", "api", "sh", "-c", "echo 1000 >/proc/1/oom_score_adj; tail /dev/zero") // fails when the container ends
	harness.Eventually(t, "the kernel has killed the container", func() bool {
		return harness.MustDocker(t, "inspect", "--format", "{{.State.Running}} {{.State.OOMKilled}}", id) == "false true"
	})
	harness.EventuallyWithin(t, 2*time.Second, "the edge has removed the endpoint", func() bool { return p.ServiceStatus(t, labService).Ready == 0 })
	harness.MustDocker(t, "start", id)
	p.WaitReady(t, labService, 1)
}

func TestDockerHealthCheckRemovesAndRestoresEndpoint(t *testing.T) {
	t.Parallel()
	p := newLab(t, "LAB_NO_HEALTHCHECK=false")
	p.WaitReady(t, labService, 1) // before the first result of Docker's health check
	p.MustCompose(t, "exec", "-T", "api", "touch", "/tmp/sick")
	harness.Eventually(t, "the endpoint is unhealthy", func() bool {
		s := p.ServiceStatus(t, labService)
		return s.Ready == 0 && len(s.Endpoints) == 1 && strings.Contains(s.Endpoints[0].Reason, "unhealthy")
	})
	p.MustCompose(t, "exec", "-T", "api", "rm", "/tmp/sick")
	p.WaitReady(t, labService, 1)
}

// TestStoppingEdgeStaggersWebSocketCloses checks the close codes and the times of the closes.
func TestStoppingEdgeStaggersWebSocketCloses(t *testing.T) {
	const sockets = 50
	p := newLab(t)
	p.WaitReady(t, labService, 1)
	type closure struct {
		code websocket.StatusCode
		at   time.Time
	}
	closes := make(chan closure, sockets)
	var open sync.WaitGroup
	for range sockets {
		conn, _, err := websocket.Dial(t.Context(), "http://api.localhost/_test/websocket", &websocket.DialOptions{HTTPClient: p.Client(false, nil)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		open.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, _, err := conn.Read(ctx)
			closes <- closure{websocket.CloseStatus(err), time.Now()}
		})
	}
	harness.Eventually(t, "the edge counts all sockets", func() bool { return p.ServiceStatus(t, labService).Sockets == sockets })
	edge := p.container(t, "edge")
	began := time.Now()
	p.MustCompose(t, "stop", "--timeout", "20", "edge")
	// By the Engine's clock: on a busy machine, Compose takes seconds longer to notice.
	ended, err := time.Parse(time.RFC3339Nano, harness.MustDocker(t, "inspect", "--format", "{{.State.FinishedAt}}", edge))
	if err != nil {
		t.Fatal(err)
	}
	if took := ended.Sub(began); took > 12*time.Second {
		t.Errorf("the edge takes %s to stop", took)
	}
	open.Wait()
	close(closes)
	var seconds [6]int // of the 5 s window
	for c := range closes {
		if c.code != websocket.StatusGoingAway {
			t.Errorf("a WebSocket is closed with %d, want 1001", c.code)
		}
		seconds[min(int(c.at.Sub(began).Seconds()), 5)]++
	}
	t.Logf("closed in each second after the stop: %v", seconds)
	for i := range 5 {
		if seconds[i] > sockets/2 {
			t.Errorf("%d of %d WebSockets are closed in second %d, want them spread over 5 s", seconds[i], sockets, i)
		}
	}
}
