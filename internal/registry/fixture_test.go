package registry_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

const (
	idA = "aaaaaaaaaaaa11112222"
	idB = "bbbbbbbbbbbb11112222"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

// fixture is a registry with one service, and its feeds.
type fixture struct {
	*registry.Registry
	service     *registry.Service
	engine, dns *registry.Feed
	conns       map[string][]*fakeConns
}

// newFixture has the service api:80.
func newFixture(t *testing.T, settings registry.Settings) *fixture {
	t.Helper()
	return newServiceFixture(t, "api:80", settings)
}

func newServiceFixture(t *testing.T, name string, settings registry.Settings) *fixture {
	t.Helper()
	f := &fixture{conns: make(map[string][]*fakeConns)}
	f.Registry = registry.New(registry.Options{OpenConns: func(addr string) registry.Conns {
		conns := &fakeConns{}
		f.conns[addr] = append(f.conns[addr], conns)
		return conns
	}})
	t.Cleanup(f.Registry.Close)
	service, err := f.Declare(name)
	if err != nil {
		t.Fatal(err)
	}
	service.Configure(settings)
	f.service = service
	f.engine, f.dns = f.Feed(registry.Engine), f.Feed(registry.DNS)
	return f
}

// newPairFixture has two ready endpoints, idA at 10.0.0.1 and idB at 10.0.0.2.
func newPairFixture(t *testing.T, settings registry.Settings) *fixture {
	t.Helper()
	f := newFixture(t, settings)
	f.engine.Set("api", []registry.Member{engineMember(idA, "10.0.0.1"), engineMember(idB, "10.0.0.2")})
	f.engine.SetOnline(true)
	return f
}

// states returns the endpoints of the service as "address state", sorted.
func (f *fixture) states() string {
	text := ""
	for _, e := range f.service.Status().Endpoints {
		text += fmt.Sprintf("%s %s; ", e.Address, e.State)
	}
	return text
}

func (f *fixture) wantStates(t *testing.T, states string) {
	t.Helper()
	if got := f.states(); got != states {
		t.Errorf("endpoints: got %q, want %q", got, states)
	}
}

// mustAcquire claims an endpoint, and fails the test if that fails.
func (f *fixture) mustAcquire(t *testing.T, opts registry.PickOptions) registry.Claim {
	t.Helper()
	claim, err := f.service.Acquire(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// acquireResult is the result of one request, and how long it waited.
type acquireResult struct {
	err   error
	after time.Duration
}

// acquireAsync claims and releases an endpoint in the background.
func (f *fixture) acquireAsync(ctx context.Context) <-chan acquireResult {
	result, start := make(chan acquireResult, 1), time.Now()
	go func() {
		claim, err := f.service.Acquire(ctx, registry.PickOptions{})
		if err == nil {
			claim.Release()
		}
		result <- acquireResult{err, time.Since(start)}
	}()
	return result
}

// acquireAsyncAs is acquireAsync for a client.
func (f *fixture) acquireAsyncAs(ctx context.Context, client netip.Addr) <-chan error {
	result := make(chan error, 1)
	go func() {
		claim, err := f.service.Acquire(ctx, registry.PickOptions{Client: client})
		if err == nil {
			claim.Release()
		}
		result <- err
	}()
	return result
}

// engineMember is a running container as the Docker Engine reports it.
func engineMember(id, addr string) registry.Member {
	return registry.Member{ID: id, Name: "p/api/" + id, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// terminatingMember is a container that Docker has told to stop.
func terminatingMember(id, addr string) registry.Member {
	m := engineMember(id, addr)
	m.Phase = registry.Terminating
	return m
}

// stoppedMember is a stopped container: the name is known, so that requests are held.
func stoppedMember(id string) registry.Member {
	return registry.Member{ID: id, Phase: registry.Stopped}
}

// dnsMember is an address as DNS reports it.
func dnsMember(addr string) registry.Member {
	return registry.Member{ID: addr, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// fakeConns records the calls on an endpoint's connections.
type fakeConns struct {
	mu             sync.Mutex
	closes, aborts int
	draining       bool
	closeReason    string
}

func (l *fakeConns) Close() { l.mu.Lock(); l.closes++; l.mu.Unlock() }
func (l *fakeConns) Abort() { l.mu.Lock(); l.aborts++; l.mu.Unlock() }

func (l *fakeConns) Drain(time.Duration, string) { l.mu.Lock(); l.draining = true; l.mu.Unlock() }

func (l *fakeConns) Resume() { l.mu.Lock(); l.draining = false; l.mu.Unlock() }

func (l *fakeConns) CloseExisting(_ time.Duration, reason string) {
	l.mu.Lock()
	l.closeReason = reason
	l.mu.Unlock()
}

func (l *fakeConns) Traffic() registry.Traffic {
	return registry.Traffic{FromClients: 3, FromEndpoint: 4}
}

// manualProbe is a probe whose reports the test makes.
type manualProbe struct {
	mu      sync.Mutex
	targets map[string]registry.Target
	started chan struct{}
}

func newManualProbe() *manualProbe {
	return &manualProbe{targets: make(map[string]registry.Target), started: make(chan struct{}, 100)}
}

func (m *manualProbe) Run(ctx context.Context, t registry.Target) {
	m.mu.Lock()
	m.targets[t.Address()] = t
	m.mu.Unlock()
	m.started <- struct{}{}
	<-ctx.Done()
}

func (m *manualProbe) Same(other registry.Prober) bool { return m == other }

// target waits until the endpoint at an address is probed, and returns it.
func (m *manualProbe) target(t *testing.T, address string) registry.Target {
	t.Helper()
	for {
		m.mu.Lock()
		target, ok := m.targets[address]
		m.mu.Unlock()
		if ok {
			return target
		}
		<-m.started
	}
}
