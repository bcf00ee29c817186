package tests

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/tests/harness"
)

// TestOperatorDrainsAnEndpoint does the steps of a rollout by hand: drain, restart, wait.
func TestOperatorDrainsAnEndpoint(t *testing.T) {
	t.Parallel()
	p := newRolloutProject(t)
	id := p.container(t, "web")[:12]
	drain := func(args ...string) (string, error) {
		return p.Compose(t.Context(), append([]string{"exec", "-T", "edge", "edge", "drain", id}, args...)...)
	}
	p.loadAllMethodsDuring(t, webURL+"/_test", 0, func() {
		if out, err := drain("--sessions", "0s", "--wait", "10s"); err != nil || !strings.Contains(out, "draining") {
			t.Errorf("%v\n%s", err, out)
		}
		harness.MustDocker(t, "restart", "--time", "1", id)
		p.WaitReady(t, webService, 2) // the drain ends when the container has restarted
	})
	var slow sync.WaitGroup
	client := p.Client(false, nil)
	for range 8 { // some of them go to the endpoint
		slow.Go(func() {
			if a, err := harness.Do(client, http.MethodPost, webURL+"/_test/slow?d=8s", nil); err != nil || a.Status != http.StatusOK {
				t.Errorf("%d, %v", a.Status, err)
			}
		})
	}
	harness.Eventually(t, "the endpoint has a request in flight", func() bool {
		return slices.ContainsFunc(p.ServiceStatus(t, webService).Endpoints, func(e registry.EndpointStatus) bool {
			return strings.HasPrefix(e.ID, id) && e.InFlight > 0
		})
	})
	if _, err := drain("--wait", "100ms"); err == nil || !strings.Contains(err.Error(), "still under way after 100ms: web:8080") {
		t.Error(err)
	}
	if out, err := drain("--undo"); err != nil || !strings.Contains(out, "ready") {
		t.Errorf("%v\n%s", err, out)
	}
	slow.Wait()
	p.WaitReady(t, webService, 2)
	if _, err := p.Compose(t.Context(), "exec", "-T", "edge", "edge", "drain", "0123456789ab"); err == nil || !strings.Contains(err.Error(), "no endpoint has this ID") {
		t.Error(err)
	}
}

// TestRolloutClosesWebSocketsWith1001: clients connect again after the code 1001. No WebSocket may delay the rollout.
func TestRolloutClosesWebSocketsWith1001(t *testing.T) {
	t.Parallel()
	p := newRolloutProject(t)
	p.Setenv("ROLLOUT_VERSION", "2")
	const sockets = 50
	closed := make(chan error, sockets)
	for range sockets {
		conn, _, err := websocket.Dial(t.Context(), "ws://web.localhost/_test/websocket", &websocket.DialOptions{HTTPClient: p.Client(false, nil)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		go func() {
			_, _, err := conn.Read(t.Context())
			closed <- err
		}()
	}
	out := p.mustRollout(t, "web", "--sessions", "0s", "--drain-timeout", "20s")
	if strings.Contains(out, "will be cut") {
		t.Errorf("some WebSockets were still open:\n%s", out)
	}
	for range sockets {
		if err := <-closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("a WebSocket ends with %v, want the close code 1001", err)
		}
	}
}
