package sourcetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// Sink records what a source writes, and a test can wait on it. It is safe for concurrent use.
type Sink struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // has a value after a change

	onSet     func(name string, members []registry.Member)
	onOffline func()
}

// State is what a source has written: the last members and problem of each name, and whether it is online.
type State struct {
	Members  map[string][]registry.Member
	Problems map[string]string
	IsOnline bool
}

// Start runs a source until the test ends, and returns the sink that it writes to. The test waits for the source's end.
func Start(t *testing.T, s discovery.Source) *Sink {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, done := newSink(), make(chan struct{})
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

func newSink() *Sink {
	return &Sink{
		state:   State{Members: make(map[string][]registry.Member), Problems: make(map[string]string)},
		changed: make(chan struct{}, 1),
	}
}

// Set records the members of a name.
func (r *Sink) Set(name string, members []registry.Member) {
	r.change(func() {
		r.state.Members[name] = slices.Clone(members)
		if r.onSet != nil {
			r.onSet(name, members)
		}
	})
}

// Withdraw removes a name.
func (r *Sink) Withdraw(name string) { r.change(func() { delete(r.state.Members, name) }) }

// SetProblem records the problem of a name.
func (r *Sink) SetProblem(name, text string) { r.change(func() { r.state.Problems[name] = text }) }

// SetOnline records whether the source is online.
func (r *Sink) SetOnline(online bool) {
	r.change(func() {
		r.state.IsOnline = online
		if !online && r.onOffline != nil {
			r.onOffline()
		}
	})
}

func (r *Sink) change(record func()) {
	r.mu.Lock()
	record()
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// OnSet makes the sink call f in each later Set. f must not use the sink.
func (r *Sink) OnSet(f func(name string, members []registry.Member)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onSet = f
}

// OnOffline makes the sink call f each time the source says that it is offline. f must not use the sink.
func (r *Sink) OnOffline(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onOffline = f
}

// State returns a copy of what the source has written.
func (r *Sink) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return State{Members: maps.Clone(r.state.Members), Problems: maps.Clone(r.state.Problems), IsOnline: r.state.IsOnline}
}

// Eventually waits until the state is as expected, of which want is a description. The test fails after 20 s.
func (r *Sink) Eventually(t *testing.T, want string, isExpected func(State) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s := r.State()
		if isExpected(s) {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("no %s after 20 s; members %v, problems %v, online %t", want, s.Members, s.Problems, s.IsOnline)
		}
	}
}

// EventuallyServes waits until the source is online, and the members of api that may get requests have exactly these addresses.
func (r *Sink) EventuallyServes(t *testing.T, addrs ...string) {
	t.Helper()
	slices.Sort(addrs)
	r.Eventually(t, fmt.Sprintf("api at %v", addrs), func(s State) bool {
		var got []string
		for _, m := range slices.Concat(s.Members["api"], s.Members["api:80"]) {
			if m.Phase == registry.Running && m.UnhealthyReason == "" {
				got = append(got, m.Addr.String())
			}
		}
		slices.Sort(got)
		return slices.Equal(got, addrs) && s.IsOnline
	})
}

// Phases returns the phases of the members of a name, sorted; the stopped member that makes a service known is left out.
func (s State) Phases(name string) []registry.Phase {
	var all []registry.Phase
	for _, m := range s.Members[name] {
		if !strings.HasPrefix(m.ID, "service ") {
			all = append(all, m.Phase)
		}
	}
	slices.Sort(all)
	return all
}

var _ discovery.Sink = (*Sink)(nil)
