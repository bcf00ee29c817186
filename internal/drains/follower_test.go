package drains

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

func TestAllEdgesDrainAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		if err := one.ask(t, "a", false); err != nil {
			t.Fatal(err)
		}
		one.wants(t, "at once", "a")
		two.wants(t, "before it has read the storage")
		sleep()
		one.wants(t, "later", "a")
		two.wants(t, "later", "a")
		if one.registry.calls != 1 {
			t.Error("the first edge has drained it again, and sessions get another 10s")
		}
		if two.registry.grace != 10*time.Second {
			t.Errorf("sessions get %v at the other edge, want 10s", two.registry.grace)
		}
		if err := two.ask(t, "a", true); err != nil { // at the other one
			t.Fatal(err)
		}
		sleep()
		one.wants(t, "undone")
		two.wants(t, "undone")
		if n := one.logs.FilterMessage("asked by another edge").Len(); n != 1 {
			t.Errorf("the first edge has logged %d events, want the undo: %v", n, one.logs.All())
		}
		stores := storage.stores
		for range 5 {
			sleep()
		}
		if storage.stores != stores {
			t.Errorf("the storage was written %d times without a request", storage.stores-stores)
		}
	})
}

// TestTheOrderInTheStorageCounts: an edge reads an older event of another one together with its own.
func TestTheOrderInTheStorageCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		sleepFor(pollInterval / 2) // between two reads
		_ = two.ask(t, "a", true)
		_ = one.ask(t, "a", false)
		sleep()
		one.wants(t, "the later request", "a")
		two.wants(t, "the later request", "a")
		if n := one.logs.FilterMessage("asked by another edge").Len(); n != 1 {
			t.Errorf("the first edge has logged %d events of others, want the undo: %v", n, one.logs.All())
		}
	})
}

// TestAnEdgeThatStarts does nothing that was requested before: the container may have exited and started again since, as when the machine boots.
func TestAnEdgeThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one := newTestEdge(t, storage, "a", "b")
		_ = one.ask(t, "a", false)
		two := newTestEdge(t, storage, "a", "b")
		sleep()
		two.wants(t, "an edge that starts")
		_ = one.ask(t, "b", false)
		_ = one.ask(t, "a", false)
		sleep()
		two.wants(t, "later requests", "a", "b")
	})
}

// TestARestartedContainerIsNotDrained: it exits, and starts again with the same ID, before another edge has read that the first run is drained.
func TestARestartedContainerIsNotDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		sleepFor(pollInterval / 2) // between two reads
		_ = one.ask(t, "a", false)
		one.registry.start("a")
		two.registry.start("a")
		sleep()
		one.wants(t, "it has started again")
		two.wants(t, "it has started again")
		_ = two.ask(t, "a", false) // the second run
		sleep()
		one.wants(t, "the second drain", "a")
		two.wants(t, "the second drain", "a")
	})
}

func TestAnEndpointOfAnotherEdgeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "b")
		opts := registry.DrainOptions{}
		endpoints, err := one.registry.Drain([]string{"a", "b"}, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Share(t.Context(), append(endpoints, endpoints...), opts); err != nil { // each is an endpoint of two services
			t.Fatal(err)
		}
		sleep()
		two.wants(t, "of the two", "b")
		if text := string(storage.value); !strings.Contains(text, `["a","b"]`) {
			t.Errorf("stored: %s", text)
		}
	})
}

// TestAnAddressIsNotShared if DNS alone knows it: other hosts can have it, too.
func TestAnAddressIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "172.18.0.5:80", "10.0.0.1:80"), newTestEdge(t, storage, "172.18.0.5:80", "10.0.0.1:80")
		for id, source := range map[string]registry.Source{"172.18.0.5:80": registry.DNS, "10.0.0.1:80": registry.Static} {
			all, err := one.registry.Drain([]string{id}, registry.DrainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			all[0].Source = source.String()
			if isShared, err := one.Share(t.Context(), all, registry.DrainOptions{}); err != nil || isShared != (source == registry.Static) {
				t.Errorf("%s: %t, %v", id, isShared, err)
			}
		}
		sleep()
		two.wants(t, "the static one", "10.0.0.1:80")
	})
}

// TestAllEdgesEndWithTheSameState when two are asked for the opposite at the same time, whichever is stored first.
func TestAllEdgesEndWithTheSameState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		edges := []*testEdge{newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")}
		for i := range 20 {
			var both sync.WaitGroup
			for j, e := range edges {
				both.Go(func() { _ = e.ask(t, "a", (i+j)%2 == 0) })
			}
			both.Wait()
			sleep()
			edges[0].wants(t, "after both requests", edges[1].registry.DrainedIDs()...)
		}
		// An edge reads the opposite after it has drained the endpoint, and before it has notified the others.
		opts := registry.DrainOptions{}
		endpoints, err := edges[0].registry.Drain([]string{"a"}, opts)
		if err != nil {
			t.Fatal(err)
		}
		_ = edges[1].ask(t, "a", true)
		sleep()
		if _, err := edges[0].Share(t.Context(), endpoints, opts); err != nil {
			t.Error(err)
		}
		sleep()
		edges[0].wants(t, "after the undo")
		edges[1].wants(t, "after the undo")
	})
}

// TestARunThatIsOverIsNotShared: the container has started again while the storage was busy.
func TestARunThatIsOverIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		storage.lock <- struct{}{}
		var asked sync.WaitGroup
		asked.Go(func() { _ = one.ask(t, "a", false) })
		synctest.Wait()
		one.registry.start("a")
		two.registry.start("a")
		<-storage.lock
		asked.Wait()
		sleep()
		one.wants(t, "it has started again")
		two.wants(t, "it has started again")
	})
}

func TestErrorsOfTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e, other := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		other.registry.mu.Lock()
		other.registry.err = errors.New("closed")
		other.registry.mu.Unlock()
		_ = e.ask(t, "a", false)
		sleep()
		if other.logs.FilterMessageSnippet("failed").Len() != 1 {
			t.Errorf("the log has %v", other.logs.All())
		}
	})
}

func TestTheLogIsBounded(t *testing.T) {
	l := newEventLog()
	for range 3 * maxEvents {
		l.add(event{})
	}
	if len(l.Events) != maxEvents || len(l.after(3*maxEvents-1)) != 1 || len(l.after(0)) != maxEvents || len(l.after(3*maxEvents)) != 0 {
		t.Errorf("%d events, the last is %+v", len(l.Events), l.Events[len(l.Events)-1])
	}
}
