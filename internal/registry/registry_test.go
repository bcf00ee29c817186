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

// fakeLink counts what happens to an endpoint's connections.
type fakeLink struct {
	mu           sync.Mutex
	closed, cuts int
	draining     bool
	shed         string
	address      string
}

func (l *fakeLink) Close() { l.mu.Lock(); l.closed++; l.mu.Unlock() }
func (l *fakeLink) Cut()   { l.mu.Lock(); l.cuts++; l.mu.Unlock() }

func (l *fakeLink) Drain(time.Duration, string) { l.mu.Lock(); l.draining = true; l.mu.Unlock() }

func (l *fakeLink) Resume() { l.mu.Lock(); l.draining = false; l.mu.Unlock() }

func (l *fakeLink) Shed(_ time.Duration, reason string) { l.mu.Lock(); l.shed = reason; l.mu.Unlock() }

func (l *fakeLink) Traffic() registry.Traffic {
	return registry.Traffic{FromClients: 3, FromEndpoint: 4}
}

// manual is a probe that the test plays.
type manual struct {
	mu      sync.Mutex
	targets map[string]registry.Target
	came    chan struct{}
}

func newManual() *manual {
	return &manual{targets: make(map[string]registry.Target), came: make(chan struct{}, 100)}
}

func (m *manual) Run(ctx context.Context, t registry.Target) {
	m.mu.Lock()
	m.targets[t.Address()] = t
	m.mu.Unlock()
	m.came <- struct{}{}
	<-ctx.Done()
}

func (m *manual) Same(other registry.Prober) bool { return m == other }

// target returns the probe's end of an endpoint, when it has one.
func (m *manual) target(t *testing.T, address string) registry.Target {
	t.Helper()
	for {
		m.mu.Lock()
		target, ok := m.targets[address]
		m.mu.Unlock()
		if ok {
			return target
		}
		<-m.came
	}
}

// stack is a registry with one service, api:80, and its feeds.
type stack struct {
	*registry.Registry
	service     *registry.Service
	engine, dns *registry.Feed
	links       map[string][]*fakeLink
}

func newStack(t *testing.T, settings registry.Settings) *stack {
	t.Helper()
	s := &stack{links: make(map[string][]*fakeLink)}
	s.Registry = registry.New(registry.Options{Open: func(addr string) registry.Link {
		l := &fakeLink{address: addr}
		s.links[addr] = append(s.links[addr], l)
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

// box is a running container as the Engine sees it.
func box(id, addr string) registry.Member {
	return registry.Member{ID: id, Name: "p/api/" + id, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// found is an address as DNS gives it.
func found(addr string) registry.Member {
	return registry.Member{ID: addr, Addr: netip.MustParseAddr(addr), Phase: registry.Running}
}

// states returns the service's endpoints as "address state", sorted.
func (s *stack) states() string {
	text := ""
	for _, e := range s.service.Status().Endpoints {
		text += fmt.Sprintf("%s %s; ", e.Address, e.State)
	}
	return text
}

func (s *stack) want(t *testing.T, states string) {
	t.Helper()
	if got := s.states(); got != states {
		t.Errorf("endpoints: got %q, want %q", got, states)
	}
}

func TestAnEndpointIsReadyOnlyAfterItsProbeSaysSo(t *testing.T) {
	probe := newManual()
	s := newStack(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	s.want(t, "10.0.0.1:80 starting; ")
	target := probe.target(t, "10.0.0.1:80")
	target.Fails("refused")
	s.want(t, "10.0.0.1:80 starting; ") // it has never answered
	target.Answers("ok")
	s.want(t, "10.0.0.1:80 ready; ")
	target.Fails("timeout")
	s.want(t, "10.0.0.1:80 failing; ")
}

func TestOnlyReadyEndpointsAreClaimed(t *testing.T) {
	s := newStack(t, registry.Settings{})
	leaving, broken := box("b", "10.0.0.2"), box("c", "10.0.0.3")
	leaving.Phase = registry.Leaving
	broken.Broken = "unhealthy"
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1"), leaving, broken})
	s.engine.Online(true)
	s.want(t, "10.0.0.1:80 ready; 10.0.0.2:80 draining; 10.0.0.3:80 failing; ")
	for range 100 {
		claim, err := s.service.Acquire(t.Context(), registry.Want{})
		if err != nil {
			t.Fatal(err)
		}
		if got := claim.Endpoint().ID(); got != "a" {
			t.Fatalf("claimed %s, which is not ready", got)
		}
		claim.Release()
	}
}

func TestAStopThatIsTakenBackMakesTheEndpointReadyAgain(t *testing.T) {
	s := newStack(t, registry.Settings{})
	m := box("a", "10.0.0.1")
	m.Phase = registry.Leaving
	s.engine.Set("api", []registry.Member{m})
	s.engine.Online(true)
	s.want(t, "10.0.0.1:80 draining; ")
	m.Phase = registry.Running
	s.engine.Set("api", []registry.Member{m})
	s.want(t, "10.0.0.1:80 ready; ")
}

func TestTheLessBusyOfTwoIsTaken(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1"), box("b", "10.0.0.2")})
	s.engine.Online(true)
	counts := make(map[string]int)
	for range 100 {
		claim, err := s.service.Acquire(t.Context(), registry.Want{})
		if err != nil {
			t.Fatal(err)
		}
		counts[claim.Endpoint().ID()]++ // kept: two are compared each time, so that they fill evenly
	}
	if counts["a"] != 50 || counts["b"] != 50 {
		t.Errorf("100 kept claims went %v, want 50 to each", counts)
	}
}

func TestAnotherEndpointIsPreferredToTheOneToAvoid(t *testing.T) {
	s := newStack(t, registry.Settings{})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1"), box("b", "10.0.0.2")})
	s.engine.Online(true)
	first, err := s.service.Acquire(t.Context(), registry.Want{})
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	for range 50 {
		claim, err := s.service.Acquire(t.Context(), registry.Want{Avoid: []*registry.Endpoint{first.Endpoint()}})
		if err != nil {
			t.Fatal(err)
		}
		if claim.Endpoint() == first.Endpoint() {
			t.Fatal("claimed the endpoint to avoid although there is another")
		}
		claim.Release()
	}
}

func TestARefusedDialTakesTheEndpointOutAndPokesItsProbe(t *testing.T) {
	probe := newManual()
	s := newStack(t, registry.Settings{Probe: probe})
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	target := probe.target(t, "10.0.0.1:80")
	target.Answers("ok")
	claim, err := s.service.Acquire(t.Context(), registry.Want{})
	if err != nil {
		t.Fatal(err)
	}
	claim.Release()
	claim.Refused("connection refused")
	s.want(t, "10.0.0.1:80 failing; ")
	<-target.Poked()
	for host := range s.Nudges() {
		if host == "api" {
			break
		}
	}
}

func TestNoClaimSlipsInAfterADrainBegan(t *testing.T) {
	s := newStack(t, registry.Settings{})
	both := []registry.Member{box("a", "10.0.0.1"), box("b", "10.0.0.2")}
	drained := []registry.Member{both[0], both[1]}
	drained[0].Phase = registry.Leaving
	s.engine.Set("api", both)
	s.engine.Online(true)
	ctx, cancel := context.WithCancel(t.Context())
	var claimers sync.WaitGroup
	for range 4 {
		claimers.Go(func() {
			for ctx.Err() == nil {
				if claim, err := s.service.Acquire(ctx, registry.Want{}); err == nil {
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

func TestAServiceIsOneHoweverManyRoutesNameIt(t *testing.T) {
	s := newStack(t, registry.Settings{})
	again, err := s.Declare("api:80")
	if err != nil {
		t.Fatal(err)
	}
	if again != s.service {
		t.Error("a second declaration made a second service")
	}
	s.engine.Set("api", []registry.Member{box("a", "10.0.0.1")})
	s.engine.Online(true)
	again.Drop()
	s.want(t, "10.0.0.1:80 ready; ")
	s.service.Drop()
	s.want(t, "")
	if got := s.links["10.0.0.1:80"][0].closed; got == 0 {
		t.Error("the endpoint of a dropped service kept its connections")
	}
}

func TestNamesThatCanNotBeServicesAreRefused(t *testing.T) {
	for _, name := range []string{"", "api", "api:", ":80", "api:0", "api:70000", "api:http", "a/b:80", "{env.X}:80", "API:80", "[::1]"} {
		if _, _, err := registry.ParseName(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if host, port, err := registry.ParseName("bigcapital-server:3000"); host != "bigcapital-server" || port != 3000 || err != nil {
		t.Errorf("bigcapital-server:3000 became %q %d %v", host, port, err)
	}
}
