package discovery_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/api/types/events"

	"github.com/theworklabs/edge/internal/discovery/sourcetest"
	"github.com/theworklabs/edge/internal/registry"
)

// TestANameStaysKnownUntilTheSuccessorIsListed: with a slow list, a recreated service would be unknown for a moment, and its requests refused.
func TestANameStaysKnownUntilTheSuccessorIsListed(t *testing.T) {
	engine := newFakeEngine(t)
	engine.put("a", "10.0.0.7", nil)
	r := sourcetest.Start(t, engine.NewSource())
	r.EventuallyServes(t, "10.0.0.7")
	var wasUnknown, wasStopped atomic.Bool
	r.OnSet(func(name string, members []registry.Member) {
		if name == "api" && len(members) == 0 {
			wasUnknown.Store(true)
		}
		if name == "api" && len(members) == 1 && members[0].Phase == registry.Stopped {
			wasStopped.Store(true)
		}
	})
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	engine.mu.Lock()
	engine.listGate = gate
	engine.mu.Unlock()
	engine.put("b", "10.0.0.8", nil)
	engine.remove("a")
	message := func(action events.Action, id string) events.Message {
		return events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: id}}
	}
	engine.emitAll(message(events.ActionCreate, "b"), message(events.ActionDie, "a"), message(events.ActionDestroy, "a"), message(events.ActionStart, "b"))
	eventuallyInPhase(t, r, registry.Stopped)
	open()
	r.EventuallyServes(t, "10.0.0.8")
	if wasUnknown.Load() || !wasStopped.Load() {
		t.Errorf("the name was unknown: %t; the old container was stopped: %t", wasUnknown.Load(), wasStopped.Load())
	}
	// Without a successor, the name is unknown at once.
	engine.remove("b")
	engine.emitAll(message(events.ActionDie, "b"), message(events.ActionDestroy, "b"))
	r.Eventually(t, "api unknown", func(s sourcetest.State) bool { return len(s.Members["api"]) == 0 })
}
