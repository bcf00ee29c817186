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

// fakeConns counts what happens to an endpoint's connections.
type fakeConns struct {
	mu             sync.Mutex
	closes, aborts int
	draining       bool
	closeReason    string
	address        string
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

// manualProbe is a probe that the test plays.
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

// target returns the probe's end of an endpoint, when it has one.
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

// fixture is a registry with one service, api:80, and its feeds.
type fixture struct {
	*registry.Registry
	service     *registry.Service
	engine, dns *registry.Feed
	conns       map[string][]*fakeConns
}

func newFixture(t *testing.T, settings registry.Settings) *fixture {
	t.Helper()
	s := &fixture{conns: make(map[string][]*fakeConns)}
	s.Registry = registry.New(registry.Options{OpenConns: func(addr string) registry.Conns {
		l := &fakeConns{address: addr}
		s.conns[addr] = append(s.conns[addr], l)
		return l
	}})
	t.Cleanup(s.Registry.Close)
	service, err := s.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	service.Configure(settings)
	s.service = service
	s.engine, s.dns = s.Feed(registry.Engine), s.Feed(registry.DNS)
	return s
}

// engineMember is a running container as the Engine sees it.
func engineMember(id, addr string) registry.Member {
	return registry.Member{ID: id, Name: "p/api/" + id, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// dnsMember is an address as DNS gives it.
func dnsMember(addr string) registry.Member {
	return registry.Member{ID: addr, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// states returns the service's endpoints as "address state", sorted.
func (s *fixture) states() string {
	text := ""
	for _, e := range s.service.Status().Endpoints {
		text += fmt.Sprintf("%s %s; ", e.Address, e.State)
	}
	return text
}

func (s *fixture) wantStates(t *testing.T, states string) {
	t.Helper()
	if got := s.states(); got != states {
		t.Errorf("endpoints: got %q, want %q", got, states)
	}
}

func TestAnEndpointIsReadyOnlyAfterItsProbeSaysSo(t *testing.T) {
	probe := newManualProbe()
	s := newFixture(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	s.wantStates(t, "10.0.0.1:80 starting; ")
	target := probe.target(t, "10.0.0.1:80")
	target.ReportFailing("refused")
	s.wantStates(t, "10.0.0.1:80 starting; ") // it has never answered
	target.ReportReady("ok")
	s.wantStates(t, "10.0.0.1:80 ready; ")
	target.ReportFailing("timeout")
	s.wantStates(t, "10.0.0.1:80 failing; ")
}

func TestOnlyReadyEndpointsAreClaimed(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	leaving, broken := engineMember("b", "10.0.0.2"), engineMember("c", "10.0.0.3")
	leaving.Phase = registry.Terminating
	broken.UnhealthyReason = "unhealthy"
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), leaving, broken})
	s.engine.SetOnline(true)
	s.wantStates(t, "10.0.0.1:80 ready; 10.0.0.2:80 draining; 10.0.0.3:80 failing; ")
	for range 100 {
		claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := claim.Endpoint().ID(); got != "a" {
			t.Fatalf("claimed %s, which is not ready", got)
		}
		claim.Release()
	}
}

func TestCanceledStopMakesTheEndpointReadyAgain(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	m := engineMember("a", "10.0.0.1")
	m.Phase = registry.Terminating
	s.engine.Set("api", []registry.Member{m})
	s.engine.SetOnline(true)
	s.wantStates(t, "10.0.0.1:80 draining; ")
	m.Phase = registry.Running
	s.engine.Set("api", []registry.Member{m})
	s.wantStates(t, "10.0.0.1:80 ready; ")
}

func TestPowerOfTwoChoicesPicksTheLessLoaded(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
	s.engine.SetOnline(true)
	counts := make(map[string]int)
	for range 100 {
		claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		counts[claim.Endpoint().ID()]++ // kept: two are compared each time, so that they fill evenly
	}
	if counts["a"] != 50 || counts["b"] != 50 {
		t.Errorf("100 kept claims went %v, want 50 to each", counts)
	}
}

func TestAvoidedEndpointIsNotPickedIfAnotherIsReady(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")})
	s.engine.SetOnline(true)
	first, err := s.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	for range 50 {
		claim, err := s.service.Acquire(t.Context(), registry.PickOptions{Avoid: []*registry.Endpoint{first.Endpoint()}})
		if err != nil {
			t.Fatal(err)
		}
		if claim.Endpoint() == first.Endpoint() {
			t.Fatal("claimed the endpoint to avoid although there is another")
		}
		claim.Release()
	}
}

func TestDialErrorTakesEndpointOutAndTriggersACheck(t *testing.T) {
	probe := newManualProbe()
	s := newFixture(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	target := probe.target(t, "10.0.0.1:80")
	target.ReportReady("ok")
	claim, err := s.service.Acquire(t.Context(), registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	claim.Release()
	claim.ReportDialError("connection refused")
	s.wantStates(t, "10.0.0.1:80 failing; ")
	<-target.CheckRequests()
	for host := range s.LookupRequests() {
		if host == "api" {
			break
		}
	}
}

func TestNoClaimIsMadeAfterADrainBegins(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	both := []registry.Member{engineMember("a", "10.0.0.1"), engineMember("b", "10.0.0.2")}
	drained := []registry.Member{both[0], both[1]}
	drained[0].Phase = registry.Terminating
	s.engine.Set("api", both)
	s.engine.SetOnline(true)
	ctx, cancel := context.WithCancel(t.Context())
	var claimers sync.WaitGroup
	for range 4 {
		claimers.Go(func() {
			for ctx.Err() == nil {
				if claim, err := s.service.Acquire(ctx, registry.PickOptions{}); err == nil {
					claim.Release()
				}
			}
		})
	}
	requestsOf := func(id string) uint64 {
		for _, e := range s.service.Status().Endpoints {
			if e.ID == id {
				return e.Requests
			}
		}
		return 0
	}
	for range 200 {
		s.engine.Set("api", drained)
		before := requestsOf("a")
		busy := requestsOf("b")
		for requestsOf("b") == busy { // others go on being served
		}
		if after := requestsOf("a"); after != before {
			t.Fatalf("%d requests went to a draining endpoint", after-before)
		}
		s.engine.Set("api", both)
	}
	cancel()
	claimers.Wait()
}

func TestRoutesShareOneService(t *testing.T) {
	s := newFixture(t, registry.Settings{})
	again, err := s.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	if again != s.service {
		t.Error("a second declaration made a second service")
	}
	s.engine.Set("api", []registry.Member{engineMember("a", "10.0.0.1")})
	s.engine.SetOnline(true)
	again.Drop()
	s.wantStates(t, "10.0.0.1:80 ready; ")
	s.service.Drop()
	s.wantStates(t, "")
	if got := s.conns["10.0.0.1:80"][0].closes; got == 0 {
		t.Error("the endpoint of a dropped service kept its connections")
	}
}

func TestParseNameRejectsInvalidNames(t *testing.T) {
	for _, name := range []string{"", "api", "api:", ":80", "api:0", "api:70000", "api:http", "a/b:80", "{env.X}:80", "API:80", "[::1]"} {
		if _, _, err := registry.ParseName(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if host, port, err := registry.ParseName("bigcapital-server:3000"); host != "bigcapital-server" || port != 3000 || err != nil {
		t.Errorf("bigcapital-server:3000 became %q %d %v", host, port, err)
	}
}
