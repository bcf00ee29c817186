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

// TestOOMKilledContainerGetsNoRequests: nobody told it to stop, so that its death is the first that is heard of it.
func TestOOMKilledContainerGetsNoRequests(t *testing.T) {
	p := newLab(t)
	p.waitReady(t, labService, 1)
	id := p.container(t, "api")
	harness.MustDocker(t, "update", "--memory", "64m", "--memory-swap", "64m", id)
	// Of the container's processes the kernel is to take the first, whichever it is that eats.
	_, _ = p.Compose(t.Context(), "exec", "-T", "api", "sh", "-c", "echo 1000 >/proc/1/oom_score_adj; tail /dev/zero") // ends with the container
	harness.Eventually(t, "the kernel has killed it", func() bool {
		return harness.MustDocker(t, "inspect", "--format", "{{.State.Running}} {{.State.OOMKilled}}", id) == "false true"
	})
	harness.EventuallyWithin(t, 2*time.Second, "the edge knows", func() bool { return p.serviceStatus(t, labService).Ready == 0 })
	harness.MustDocker(t, "start", id)
	p.waitReady(t, labService, 1)
}

func TestDockerHealthCheckRemovesAndRestoresEndpoint(t *testing.T) {
	p := newLab(t, "LAB_NO_HEALTHCHECK=false")
	p.waitReady(t, labService, 1) // before Docker's first word on its health
	p.MustCompose(t, "exec", "-T", "api", "touch", "/tmp/sick")
	harness.Eventually(t, "the edge knows that it is unhealthy", func() bool {
		s := p.serviceStatus(t, labService)
		return s.Ready == 0 && len(s.Endpoints) == 1 && strings.Contains(s.Endpoints[0].Reason, "unhealthy")
	})
	p.MustCompose(t, "exec", "-T", "api", "rm", "/tmp/sick")
	p.waitReady(t, labService, 1)
}

// TestStoppingEdgeStaggersWebSocketCloses: each with 1001, and not all at the same instant.
func TestStoppingEdgeStaggersWebSocketCloses(t *testing.T) {
	const sockets = 50
	p := newLab(t)
	p.waitReady(t, labService, 1)
	type end struct {
		code websocket.StatusCode
		at   time.Time
	}
	ends := make(chan end, sockets)
	var open sync.WaitGroup
	for range sockets {
		conn, _, err := websocket.Dial(t.Context(), "http://api.localhost/_test/websocket", &websocket.DialOptions{HTTPClient: p.client(false)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		open.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, _, err := conn.Read(ctx)
			ends <- end{websocket.CloseStatus(err), time.Now()}
		})
	}
	if n := p.serviceStatus(t, labService).Sockets; n != sockets {
		t.Errorf("%d sockets are counted, want %d", n, sockets)
	}
	began := time.Now()
	p.MustCompose(t, "stop", "--timeout", "20", "edge")
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("the edge took %s to stop", took)
	}
	open.Wait()
	close(ends)
	var seconds [6]int // of the 5 s window
	for e := range ends {
		if e.code != websocket.StatusGoingAway {
			t.Errorf("closed with %d, want 1001", e.code)
		}
		seconds[min(int(e.at.Sub(began).Seconds()), 5)]++
	}
	t.Logf("closed in each second after the stop: %v", seconds)
	for i := range 5 {
		if seconds[i] > sockets/2 {
			t.Errorf("%d of %d were closed in second %d: they are not spread", seconds[i], sockets, i)
		}
	}
}
