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

// environment is what a source watches, played by a test. The service is api:80 at its host api.
type environment interface {
	// newSource returns a source that watches this world.
	newSource() discovery.Source
	// setAddrs makes the world answer that these addresses, and no others, answer to api.
	setAddrs(addrs ...string)
	// goDown makes the world unreachable, mend brings it back. fixed reports that neither means anything here.
	goDown()
	goUp()
	isStatic() bool
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

// eventually waits for a state of the record.
func (r *recordingSink) eventually(t *testing.T, what string, holds func() bool) {
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
			t.Fatalf("never saw: %s; last: %v %v online=%v", what, r.names, r.problems, r.online)
		}
	}
}

// eventuallyServes waits until api is answered by exactly these addresses.
func (r *recordingSink) eventuallyServes(t *testing.T, addrs ...string) {
	t.Helper()
	slices.Sort(addrs)
	r.eventually(t, fmt.Sprintf("api at %v", addrs), func() bool {
		var got []string
		for _, m := range slices.Concat(r.names["api"], r.names["api:80"]) {
			if m.Phase == registry.Running {
				got = append(got, m.Addr.String())
			}
		}
		slices.Sort(got)
		return slices.Equal(got, addrs) && r.online
	})
}

// fakeNames is what a DNS source asks for in tests.
type fakeNames struct{ lookupRequests chan string }

func (fakeNames) Hosts() []string                 { return []string{"api"} }
func (n fakeNames) LookupRequests() <-chan string { return n.lookupRequests }

func subnets() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")} }

func TestSourceConformance(t *testing.T) {
	worlds := map[string]func(t *testing.T) environment{
		"engine": func(t *testing.T) environment { return newFakeEngine(t) },
		"dns":    func(t *testing.T) environment { return newFakeDNS(t) },
		"static": func(*testing.T) environment { return new(fakeStatic) },
	}
	for name, build := range worlds {
		t.Run(name, func(t *testing.T) { testConformance(t, build) })
	}
}

// testConformance is the contract that every source keeps.
func testConformance(t *testing.T, build func(t *testing.T) environment) {
	t.Run("finds what is there", func(t *testing.T) {
		w := build(t)
		w.setAddrs("10.0.0.7", "10.0.0.8")
		r := run(t, w)
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
	})
	t.Run("sees members come and go", func(t *testing.T) {
		w := build(t)
		if w.isStatic() {
			t.Log("what is fixed neither comes nor goes")
			return
		}
		w.setAddrs("10.0.0.7")
		r := run(t, w)
		r.eventuallyServes(t, "10.0.0.7")
		w.setAddrs("10.0.0.7", "10.0.0.8")
		r.eventuallyServes(t, "10.0.0.7", "10.0.0.8")
		w.setAddrs("10.0.0.8")
		r.eventuallyServes(t, "10.0.0.8")
		w.setAddrs()
		r.eventuallyServes(t)
	})
	t.Run("starts while its world is down, and finds it later", func(t *testing.T) {
		w := build(t)
		w.setAddrs("10.0.0.7")
		if w.isStatic() {
			return
		}
		w.goDown()
		r := run(t, w)
		r.mu.Lock()
		if len(r.names["api"]) > 0 {
			t.Error("wrote what it can't have seen")
		}
		r.mu.Unlock()
		w.goUp()
		r.eventuallyServes(t, "10.0.0.7")
	})
	t.Run("keeps what it knew through a short outage, and sees what changed in it", func(t *testing.T) {
		w := build(t)
		w.setAddrs("10.0.0.7")
		if w.isStatic() {
			return
		}
		r := run(t, w)
		r.eventuallyServes(t, "10.0.0.7")
		w.goDown()
		w.setAddrs("10.0.0.8")
		r.mu.Lock()
		if got := r.names["api"]; len(got) != 1 {
			t.Errorf("in the outage: %v", got)
		}
		r.mu.Unlock()
		w.goUp()
		r.eventuallyServes(t, "10.0.0.8")
	})
	t.Run("ends with its context and leaves nothing behind", func(t *testing.T) {
		w := build(t)
		w.setAddrs("10.0.0.7")
		ctx, cancel := context.WithCancel(t.Context())
		r, done := newRecordingSink(), make(chan struct{})
		go func() {
			defer close(done)
			w.newSource().Run(ctx, r)
		}()
		r.eventuallyServes(t, "10.0.0.7")
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("Run did not return")
		}
		waitForNoGoroutines(t, "discovery.")
	})
}

// run runs the source of a world until the test ends.
func run(t *testing.T, w environment) *recordingSink {
	t.Helper()
	return runSource(t, w.newSource())
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

// waitForNoGoroutines waits until no goroutine runs code of the package under test.
func waitForNoGoroutines(t *testing.T, of string) {
	t.Helper()
	var stacks string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		left := false
		for _, g := range strings.Split(stacks, "\n\n") {
			left = left || strings.Contains(g, of) && !strings.Contains(g, "_test.") && !strings.Contains(g, "testing.tRunner")
		}
		if !left {
			return
		}
	}
	t.Errorf("goroutines were left behind:\n%s", stacks)
}

// fakeStatic is a list.
type fakeStatic struct{ addrs []netip.AddrPort }

func (w *fakeStatic) newSource() discovery.Source { return discovery.Static{"api:80": w.addrs} }
func (w *fakeStatic) setAddrs(addrs ...string) {
	w.addrs = nil
	for _, a := range addrs {
		w.addrs = append(w.addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
	}
}
func (*fakeStatic) goDown()        {}
func (*fakeStatic) goUp()          {}
func (*fakeStatic) isStatic() bool { return true }
