// Package sourcetest tests a discovery.Source against its contract.
package sourcetest

import (
	"context"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/discovery"
	"github.com/theworklabs/edge/internal/registry"
)

// Environment is a fake of the system that a source watches. The service is api:80, its host is api.
type Environment interface {
	// NewSource returns a source that watches the environment.
	NewSource() discovery.Source
	// SetAddrs replaces the addresses of api.
	SetAddrs(addrs ...string)
	// GoDown makes the environment unreachable, GoUp makes it reachable again. IsStatic reports that neither has an effect.
	GoDown()
	GoUp()
	IsStatic() bool
}

// Orchestrator is an environment that knows more of containers than their addresses. Containers begin as SetAddrs leaves them.
type Orchestrator interface {
	Environment
	// StopAll ends all containers of api, and keeps api known.
	StopAll()
	// TellToStop tells the container with an address to stop, which it does not do yet.
	TellToStop(addr string)
	// CutOff makes the container with an address unreachable: its node is gone, or it has left the edge's networks.
	CutOff(addr string)
}

// Run tests the sources of an environment, and more of them if it is an [Orchestrator]. Each call of build returns a new environment, which the
// end of its test removes.
func Run(t *testing.T, build func(t *testing.T) Environment) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Environment)
	}{
		{"finds the members", testFindsMembers},
		{"sees members come and go", testSeesChanges},
		{"starts while the environment is down, and finds the members later", testStartsWhileDown},
		{"keeps the members during a short outage, and sees its changes later", testKeepsMembersDuringOutage},
		{"returns with its context and leaves no goroutine", testReturnsWithContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, build(t)) })
	}
	if _, isOrchestrator := build(t).(Orchestrator); !isOrchestrator {
		return
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, Orchestrator)
	}{
		{"keeps a name known that has no container now", testKeepsNameKnown},
		{"knows a name that never had a container", testKnowsNameWithoutContainer},
		{"sees that a container is being stopped", testSeesStop},
		{"takes away a container that can't be reached", testTakesAwayUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, build(t).(Orchestrator)) })
	}
}

func testFindsMembers(t *testing.T, env Environment) {
	env.SetAddrs("10.0.0.7", "10.0.0.8")
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
}

func testSeesChanges(t *testing.T, env Environment) {
	if env.IsStatic() {
		t.Log("a static list does not change")
		return
	}
	env.SetAddrs("10.0.0.7")
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	env.SetAddrs("10.0.0.7", "10.0.0.8")
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	env.SetAddrs("10.0.0.8")
	r.EventuallyServes(t, "10.0.0.8")
	env.SetAddrs()
	r.EventuallyServes(t)
}

func testStartsWhileDown(t *testing.T, env Environment) {
	env.SetAddrs("10.0.0.7")
	if env.IsStatic() {
		return
	}
	env.GoDown()
	r := Start(t, env.NewSource())
	if len(r.State().Members["api"]) > 0 {
		t.Error("the sink has members before the source can have seen any")
	}
	env.GoUp()
	r.EventuallyServes(t, "10.0.0.7")
}

func testKeepsMembersDuringOutage(t *testing.T, env Environment) {
	env.SetAddrs("10.0.0.7")
	if env.IsStatic() {
		return
	}
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	env.GoDown()
	env.SetAddrs("10.0.0.8")
	if got := slices.DeleteFunc(slices.Clone(r.State().Members["api"]), func(m registry.Member) bool { return m.Phase != registry.Running }); len(got) != 1 {
		t.Errorf("running members during the outage: %v, want one", got)
	}
	env.GoUp()
	r.EventuallyServes(t, "10.0.0.8")
}

func testReturnsWithContext(t *testing.T, env Environment) {
	env.SetAddrs("10.0.0.7")
	ctx, cancel := context.WithCancel(t.Context())
	source, r, done := env.NewSource(), newSink(), make(chan struct{})
	go func() {
		defer close(done)
		source.Run(ctx, r)
	}()
	r.EventuallyServes(t, "10.0.0.7")
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run has not returned 10 s after its context ended")
	}
	waitForNoGoroutines(t, reflect.TypeOf(source).PkgPath()+".")
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

func testKeepsNameKnown(t *testing.T, env Orchestrator) {
	env.SetAddrs("10.0.0.7")
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	env.StopAll()
	r.Eventually(t, "stopped member", func(s State) bool {
		all := s.Members["api"]
		return len(all) > 0 && !slices.ContainsFunc(all, func(m registry.Member) bool { return m.Phase != registry.Stopped })
	})
}

func testKnowsNameWithoutContainer(t *testing.T, env Orchestrator) {
	env.StopAll()
	r := Start(t, env.NewSource())
	r.Eventually(t, "stopped member", func(s State) bool {
		return slices.ContainsFunc(s.Members["api"], func(m registry.Member) bool { return m.Phase == registry.Stopped }) && s.IsOnline
	})
}

func testSeesStop(t *testing.T, env Orchestrator) {
	env.SetAddrs("10.0.0.7", "10.0.0.8")
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	env.TellToStop("10.0.0.7")
	r.EventuallyServes(t, "10.0.0.8")
	r.Eventually(t, "terminating member", func(s State) bool {
		return slices.ContainsFunc(s.Members["api"], func(m registry.Member) bool {
			return m.Phase == registry.Terminating && m.Addr.String() == "10.0.0.7"
		})
	})
}

func testTakesAwayUnreachable(t *testing.T, env Orchestrator) {
	env.SetAddrs("10.0.0.7", "10.0.0.8")
	r := Start(t, env.NewSource())
	r.EventuallyServes(t, "10.0.0.7", "10.0.0.8")
	all := r.State().Members["api"]
	id := all[slices.IndexFunc(all, func(m registry.Member) bool { return m.Addr.String() == "10.0.0.7" })].ID
	env.CutOff("10.0.0.7")
	r.EventuallyServes(t, "10.0.0.8")
	// Its requests are ended if it is unreachable; if the orchestrator only knows that it does not answer, the connections to it end by themselves.
	r.Eventually(t, "unreachable or unhealthy member with the same ID", func(s State) bool {
		return slices.ContainsFunc(s.Members["api"], func(m registry.Member) bool {
			return m.ID == id && (m.Phase == registry.Unreachable || m.UnhealthyReason != "")
		})
	})
}
