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

// world is what a source watches, played by a test. The service is api:80 at its host api.
type world interface {
	// source returns a source that watches this world.
	source() discovery.Source
	// serve makes the world answer that these addresses, and no others, answer to api.
	serve(addrs ...string)
	// breakDown makes the world unreachable, mend brings it back. fixed reports that neither means anything here.
	breakDown()
	mend()
	fixed() bool
}

// record is a sink that a test can wait on.
type record struct {
	mu       sync.Mutex
	names    map[string][]registry.Member
	problems map[string]string
	online   bool
	changed  chan struct{}

	onOffline func()
	onSet     func(name string, members []registry.Member)
}

func newRecord() *record {
	return &record{
		names: make(map[string][]registry.Member), problems: make(map[string]string), changed: make(chan struct{}, 1),
	}
}

func (r *record) Set(name string, members []registry.Member) {
	r.mu.Lock()
	r.names[name] = slices.Clone(members)
	if r.onSet != nil {
		r.onSet(name, members)
	}
	r.mu.Unlock()
	r.tell()
}

func (r *record) Withdraw(name string) {
	r.mu.Lock()
	delete(r.names, name)
	r.mu.Unlock()
	r.tell()
}

func (r *record) SetProblem(name, text string) {
	r.mu.Lock()
	r.problems[name] = text
	r.mu.Unlock()
	r.tell()
}

func (r *record) SetOnline(online bool) {
	r.mu.Lock()
	r.online = online
	if !online && r.onOffline != nil {
		r.onOffline()
	}
	r.mu.Unlock()
	r.tell()
}

func (r *record) tell() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// until waits for a state of the record.
func (r *record) until(t *testing.T, what string, holds func() bool) {
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

// serves waits until api is answered by exactly these addresses.
func (r *record) serves(t *testing.T, addrs ...string) {
	t.Helper()
	slices.Sort(addrs)
	r.until(t, fmt.Sprintf("api at %v", addrs), func() bool {
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

// names is what a DNS source asks for in tests.
type names struct{ nudges chan string }

func (names) Hosts() []string                 { return []string{"api"} }
func (n names) LookupRequests() <-chan string { return n.nudges }

func subnets() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")} }

func TestEverySource(t *testing.T) {
	worlds := map[string]func(t *testing.T) world{
		"engine": func(t *testing.T) world { return newEngineWorld(t) },
		"dns":    func(t *testing.T) world { return newDNSWorld(t) },
		"static": func(*testing.T) world { return new(staticWorld) },
	}
	for name, build := range worlds {
		t.Run(name, func(t *testing.T) { conform(t, build) })
	}
}

// conform is the contract that every source keeps.
func conform(t *testing.T, build func(t *testing.T) world) {
	t.Run("finds what is there", func(t *testing.T) {
		w := build(t)
		w.serve("10.0.0.7", "10.0.0.8")
		r := run(t, w)
		r.serves(t, "10.0.0.7", "10.0.0.8")
	})
	t.Run("sees members come and go", func(t *testing.T) {
		w := build(t)
		if w.fixed() {
			t.Log("what is fixed neither comes nor goes")
			return
		}
		w.serve("10.0.0.7")
		r := run(t, w)
		r.serves(t, "10.0.0.7")
		w.serve("10.0.0.7", "10.0.0.8")
		r.serves(t, "10.0.0.7", "10.0.0.8")
		w.serve("10.0.0.8")
		r.serves(t, "10.0.0.8")
		w.serve()
		r.serves(t)
	})
	t.Run("starts while its world is down, and finds it later", func(t *testing.T) {
		w := build(t)
		w.serve("10.0.0.7")
		if w.fixed() {
			return
		}
		w.breakDown()
		r := run(t, w)
		r.mu.Lock()
		if len(r.names["api"]) > 0 {
			t.Error("wrote what it can't have seen")
		}
		r.mu.Unlock()
		w.mend()
		r.serves(t, "10.0.0.7")
	})
	t.Run("keeps what it knew through a short outage, and sees what changed in it", func(t *testing.T) {
		w := build(t)
		w.serve("10.0.0.7")
		if w.fixed() {
			return
		}
		r := run(t, w)
		r.serves(t, "10.0.0.7")
		w.breakDown()
		w.serve("10.0.0.8")
		r.mu.Lock()
		if got := r.names["api"]; len(got) != 1 {
			t.Errorf("in the outage: %v", got)
		}
		r.mu.Unlock()
		w.mend()
		r.serves(t, "10.0.0.8")
	})
	t.Run("ends with its context and leaves nothing behind", func(t *testing.T) {
		w := build(t)
		w.serve("10.0.0.7")
		ctx, cancel := context.WithCancel(t.Context())
		r, done := newRecord(), make(chan struct{})
		go func() {
			defer close(done)
			w.source().Run(ctx, r)
		}()
		r.serves(t, "10.0.0.7")
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("Run did not return")
		}
		noGoroutines(t, "discovery.")
	})
}

// run runs the source of a world until the test ends.
func run(t *testing.T, w world) *record {
	t.Helper()
	return runSource(t, w.source())
}

// runSource runs a source until the test ends.
func runSource(t *testing.T, s discovery.Source) *record {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, done := newRecord(), make(chan struct{})
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

// noGoroutines waits until no goroutine runs code of the package under test.
func noGoroutines(t *testing.T, of string) {
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

// staticWorld is a list.
type staticWorld struct{ addrs []netip.AddrPort }

func (w *staticWorld) source() discovery.Source { return discovery.Static{"api:80": w.addrs} }
func (w *staticWorld) serve(addrs ...string) {
	w.addrs = nil
	for _, a := range addrs {
		w.addrs = append(w.addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 80))
	}
}
func (*staticWorld) breakDown()  {}
func (*staticWorld) mend()       {}
func (*staticWorld) fixed() bool { return true }
