package probe_test

import (
	"context"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/probe"
	"github.com/theworklabs/edge/internal/registry"
)

// maxWait is how long a test waits for a state before it fails.
const maxWait = 10 * time.Second

// fixture is a registry whose service, api:80, has one endpoint, which is probed.
type fixture struct {
	*registry.Registry
	t       *testing.T
	service *registry.Service
	changes chan registry.Change
}

// newFixture starts to probe an address, with an interval of 5 ms unless the configuration has one.
func newFixture(t *testing.T, address string, c probe.Config) *fixture {
	t.Helper()
	return newFixtureWith(t, address, newFastProber(t, c))
}

func newFastProber(t *testing.T, c probe.Config) *probe.Prober {
	t.Helper()
	if c.Interval == 0 {
		c.Interval = 5 * time.Millisecond
	}
	p, err := probe.New(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newFixtureWith(t *testing.T, address string, p registry.Prober) *fixture {
	t.Helper()
	f := &fixture{t: t, changes: make(chan registry.Change, 1000)}
	f.Registry = registry.New(registry.Options{OnChange: func(c registry.Change) { f.changes <- c }})
	t.Cleanup(f.Registry.Close)
	service, err := f.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	f.service = service
	service.Configure(registry.Settings{Probe: p})
	f.setEndpoint(address, "")
	f.waitForState(registry.Starting)
	return f
}

// setEndpoint makes an address the service's only endpoint. If unhealthyReason is not empty, it must not get requests.
func (f *fixture) setEndpoint(address, unhealthyReason string) {
	addr := netip.MustParseAddrPort(address)
	f.Feed(registry.Static).Set("api:80", []registry.Member{{
		ID: address, Addr: addr.Addr(), Port: addr.Port(), Phase: registry.Running, UnhealthyReason: unhealthyReason,
	}})
}

// waitForState waits for the endpoint's next change, which must be to the given state, and returns the reason.
func (f *fixture) waitForState(state registry.State) (reason string) {
	f.t.Helper()
	select {
	case c := <-f.changes:
		if c.To != state {
			f.t.Fatalf("the endpoint became %s (%s), want %s", c.To, c.Reason, state)
		}
		return c.Reason
	case <-time.After(maxWait):
		f.t.Fatalf("the endpoint never became %s; it is %+v", state, f.endpoint())
	}
	return ""
}

// endpoint returns the present state of the endpoint.
func (f *fixture) endpoint() registry.EndpointStatus {
	f.t.Helper()
	all := f.service.Status().Endpoints
	if len(all) != 1 {
		f.t.Fatalf("%d endpoints, want 1", len(all))
	}
	return all[0]
}

// wantState checks the endpoint's present state, and a part of the reason.
func (f *fixture) wantState(state registry.State, reason string) {
	f.t.Helper()
	if e := f.endpoint(); e.State != state || !strings.Contains(e.Reason, reason) {
		f.t.Errorf("the endpoint is %s: %s; want %s: …%s…", e.State, e.Reason, state, reason)
	}
}

// stoppableProber runs a prober with a context that the test can cancel.
type stoppableProber struct {
	*probe.Prober
	cancel context.CancelFunc
	ctx    context.Context
	done   chan struct{}
}

func newStoppableProber(t *testing.T, p *probe.Prober) *stoppableProber {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return &stoppableProber{p, cancel, ctx, make(chan struct{})}
}

func (h *stoppableProber) Run(_ context.Context, target registry.Target) {
	defer close(h.done)
	h.Prober.Run(h.ctx, target)
}

// stopAndWait cancels the probe and waits until it has returned.
func (h *stoppableProber) stopAndWait(t *testing.T) {
	t.Helper()
	h.cancel()
	select {
	case <-h.done:
	case <-time.After(maxWait):
		t.Fatal("the probe runs on after its context was canceled")
	}
}

// waitForNoGoroutines waits until the probe has no goroutine left.
func waitForNoGoroutines(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(maxWait); time.Now().Before(deadline); runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
			return !strings.Contains(stack, "/internal/probe.") && !strings.Contains(stack, "net/http.(*persistConn)")
		})
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
}
