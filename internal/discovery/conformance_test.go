package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// environment is a fake of the system that a source watches. The service is api:80, its host is api.
type environment interface {
	// newSource returns a source that watches the environment.
	newSource() discovery.Source
	// setAddrs replaces the addresses of api.
	setAddrs(addrs ...string)
	// goDown makes the environment unreachable, goUp makes it reachable again. isStatic reports that neither has an effect.
	goDown()
	goUp()
	isStatic() bool
}

// orchestrator is an environment that knows more of containers than their addresses. Containers begin as setAddrs leaves them.
type orchestrator interface {
	environment
	// stopAll ends all containers of api, and keeps api known.
	stopAll()
	// tellToStop tells the container with an address to stop, which it does not do yet.
	tellToStop(addr string)
	// cutOff makes the container with an address unreachable: its node is gone, or it has left the edge's networks.
	cutOff(addr string)
}

// recordingSink is a sink that a test can wait on.
type recordingSink struct {
	mu       sync.Mutex
	names    map[string][]registry.Member
	problems map[string]string
	online   bool
	changed  chan struct{}

	onOffline func()
	onSet     func(name string, members []registry.Member)
}

func newRecordingSink() *recordingSink {
	return &recordingSink{
		names: make(map[string][]registry.Member), problems: make(map[string]string), changed: make(chan struct{}, 1),
	}
}

func (r *recordingSink) Set(name string, members []registry.Member) {
	r.mu.Lock()
	r.names[name] = slices.Clone(members)
	if r.onSet != nil {
		r.onSet(name, members)
	}
	r.mu.Unlock()
	r.notify()
}

func (r *recordingSink) Withdraw(name string) {
	r.mu.Lock()
	delete(r.names, name)
	r.mu.Unlock()
	r.notify()
}

func (r *recordingSink) SetProblem(name, text string) {
	r.mu.Lock()
	r.problems[name] = text
	r.mu.Unlock()
	r.notify()
}

func (r *recordingSink) SetOnline(online bool) {
	r.mu.Lock()
	r.online = online
	if !online && r.onOffline != nil {
		r.onOffline()
	}
	r.mu.Unlock()
	r.notify()
}

func (r *recordingSink) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// eventually waits until a condition holds, which may read the sink.
func (r *recordingSink) eventually(t *testing.T, state string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok := holds()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("no %s after 20 s; members %v, problems %v, online %t", state, r.names, r.problems, r.online)
		}
	}
}

// eventuallyServes waits until the members of api that may get requests have exactly these addresses.
func (r *recordingSink) eventuallyServes(t *testing.T, addrs ...string) {
	t.Helper()
	slices.Sort(addrs)
	r.eventually(t, fmt.Sprintf("api at %v", addrs), func() bool {
		var got []string
		for _, m := range slices.Concat(r.names["api"], r.names["api:80"]) {
			if m.Phase == registry.Running && m.UnhealthyReason == "" {
				got = append(got, m.Addr.String())
			}
		}
		slices.Sort(got)
		return slices.Equal(got, addrs) && r.online
	})
}

// fakeNames are the names that a DNS source looks up in tests.
type fakeNames struct{ lookupRequests chan string }

func (fakeNames) Hosts() []string                 { return []string{"api"} }
func (n fakeNames) LookupRequests() <-chan string { return n.lookupRequests }

func subnets() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")} }

func TestSourceConformance(t *testing.T) {
	environments := map[string]func(t *testing.T) environment{
		"engine": func(t *testing.T) environment { return newFakeEngine(t) },
		"swarm":  func(t *testing.T) environment { return newFakeSwarm(t) },

		"kubernetes": func(t *testing.T) environment { return newFakeKubernetes(t) },
		"dns":        func(t *testing.T) environment { return newFakeDNS(t) },
		"static":     func(*testing.T) environment { return new(fakeStatic) },
	}
	for name, build := range environments {
		t.Run(name, func(t *testing.T) {
			testConformance(t, build)
			if _, isOrchestrator := build(t).(orchestrator); isOrchestrator {
				testOrchestratorConformance(t, func(t *testing.T) orchestrator { return build(t).(orchestrator) })
			}
		})
	}
}

// testConformance tests the contract of Source.
func testConformance(t *testing.T, build func(t *testing.T) environment) {
	t.Run("finds the members", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7", "10.0.0.8")
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
	})
	t.Run("sees members come and go", func(t *testing.T) {
		env := build(t)
		if env.isStatic() {
			t.Log("a static list does not change")
			return
		}
		env.setAddrs("10.0.0.7")
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7")
		env.setAddrs("10.0.0.7", "10.0.0.8")
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
		env.setAddrs("10.0.0.8")
		r.eventuallyServes(t, "10.0.0.8")
		env.setAddrs()
		r.eventuallyServes(t)
	})
	t.Run("starts while the environment is down, and finds the members later", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7")
		if env.isStatic() {
			return
		}
		env.goDown()
		r := run(t, env)
		r.mu.Lock()
		if len(r.names["api"]) > 0 {
			t.Error("the sink has members before the source can have seen any")
		}
		r.mu.Unlock()
		env.goUp()
		r.eventuallyServes(t, "10.0.0.7")
	})
	t.Run("keeps the members during a short outage, and sees its changes later", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7")
		if env.isStatic() {
			return
		}
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7")
		env.goDown()
		env.setAddrs("10.0.0.8")
		r.mu.Lock()
		if got := slices.DeleteFunc(slices.Clone(r.names["api"]), func(m registry.Member) bool { return m.Phase != registry.Running }); len(got) != 1 {
			t.Errorf("running members during the outage: %v, want one", got)
		}
		r.mu.Unlock()
		env.goUp()
		r.eventuallyServes(t, "10.0.0.8")
	})
	t.Run("returns with its context and leaves no goroutine", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7")
		ctx, cancel := context.WithCancel(t.Context())
		r, done := newRecordingSink(), make(chan struct{})
		go func() {
			defer close(done)
			env.newSource().Run(ctx, r)
		}()
		r.eventuallyServes(t, "10.0.0.7")
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("Run has not returned 10 s after its context ended")
		}
		waitForNoGoroutines(t, "discovery.")
	})
}

// testOrchestratorConformance tests what Source wants of a system that knows the state of containers.
func testOrchestratorConformance(t *testing.T, build func(t *testing.T) orchestrator) {
	phases := func(r *recordingSink) (all []registry.Phase) {
		for _, m := range r.names["api"] {
			all = append(all, m.Phase)
		}
		slices.Sort(all)
		return all
	}
	t.Run("keeps a name known that has no container now", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7")
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7")
		env.stopAll()
		r.eventually(t, "stopped member", func() bool {
			all := phases(r)
			return len(all) > 0 && !slices.ContainsFunc(all, func(p registry.Phase) bool { return p != registry.Stopped })
		})
	})
	t.Run("knows a name that never had a container", func(t *testing.T) {
		env := build(t)
		env.stopAll()
		r := run(t, env)
		r.eventually(t, "stopped member", func() bool { return slices.Contains(phases(r), registry.Stopped) && r.online })
	})
	t.Run("sees that a container is being stopped", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7", "10.0.0.8")
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
		env.tellToStop("10.0.0.7")
		r.eventuallyServes(t, "10.0.0.8")
		r.eventually(t, "terminating member", func() bool {
			return slices.ContainsFunc(r.names["api"], func(m registry.Member) bool {
				return m.Phase == registry.Terminating && m.Addr.String() == "10.0.0.7"
			})
		})
	})
	t.Run("takes away a container that can't be reached", func(t *testing.T) {
		env := build(t)
		env.setAddrs("10.0.0.7", "10.0.0.8")
		r := run(t, env)
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
		r.mu.Lock()
		i := slices.IndexFunc(r.names["api"], func(m registry.Member) bool { return m.Addr.String() == "10.0.0.7" })
		id := r.names["api"][i].ID
		r.mu.Unlock()
		env.cutOff("10.0.0.7")
		r.eventuallyServes(t, "10.0.0.8")
		// Its requests are ended if it is unreachable; if the orchestrator only knows that it does not answer, the connections to it end by themselves.
		r.eventually(t, "unreachable or unhealthy member with the same ID", func() bool {
			return slices.ContainsFunc(r.names["api"], func(m registry.Member) bool {
				return m.ID == id && (m.Phase == registry.Unreachable || m.UnhealthyReason != "")
			})
		})
	})
}

// run runs a source of an environment until the test ends.
func run(t *testing.T, env environment) *recordingSink {
	t.Helper()
	return runSource(t, env.newSource())
}

// runSource runs a source until the test ends.
func runSource(t *testing.T, s discovery.Source) *recordingSink {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, done := newRecordingSink(), make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, r)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// waitForNoGoroutines waits until no goroutine runs code of a package, except for its tests.
func waitForNoGoroutines(t *testing.T, pkg string) {
	t.Helper()
	var stacks string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		isLeft := false
		for _, g := range strings.Split(stacks, "\n\n") {
			isLeft = isLeft || strings.Contains(g, pkg) && !strings.Contains(g, "_test.") && !strings.Contains(g, "testing.tRunner")
		}
		if !isLeft {
			return
		}
	}
	t.Errorf("goroutines still run:\n%s", stacks)
}

// fakeStatic is the environment of a static list.
type fakeStatic struct{ addrs []netip.AddrPort }

func (f *fakeStatic) newSource() discovery.Source { return discovery.Static{"api:80": f.addrs} }
func (f *fakeStatic) setAddrs(addrs ...string) {
	f.addrs = nil
	for _, a := range addrs {
		f.addrs = append(f.addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
	}
}
func (*fakeStatic) goDown()        {}
func (*fakeStatic) goUp()          {}
func (*fakeStatic) isStatic() bool { return true }
