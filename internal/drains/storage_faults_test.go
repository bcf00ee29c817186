package drains

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/theworklabs/edge/internal/registry"
)

// TestWithoutTheStorage: the others are not notified, not even later.
func TestWithoutTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		_ = one.ask(t, "b", false)
		sleep()
		storage.fail(errors.New("no route to host"))
		if err := one.ask(t, "a", false); err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("got %v", err)
		}
		for range 5 {
			sleep()
		}
		one.wants(t, "meanwhile", "a", "b")
		two.wants(t, "meanwhile", "b")
		if n := one.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
			t.Errorf("%d errors in the log, want one: %v", n, one.logs.All())
		}
		storage.fail(nil)
		sleep()
		two.wants(t, "it answers again", "b")
		_ = one.ask(t, "a", false)
		sleep()
		two.wants(t, "asked again", "a", "b")
	})
}

// TestAnEdgeThatCouldNotRead catches up with a minute, except for containers that have started again.
func TestAnEdgeThatCouldNotRead(t *testing.T) {
	for gap, want := range map[time.Duration][]string{30 * time.Second: {"a"}, 2 * time.Minute: nil} {
		synctest.Test(t, func(t *testing.T) {
			storage, cutOff := newStorage(), newStorage()
			one := newTestEdge(t, storage, "a", "b", "c")
			cutOff.value = storage.value
			two := newTestEdge(t, cutOff, "a", "b", "c")
			if _, err := two.registry.Drain([]string{"c"}, registry.DrainOptions{}); err != nil {
				t.Fatal(err)
			}
			sleep()
			cutOff.fail(errors.New("no route to host"))
			sleep()
			_ = one.ask(t, "c", true) // whatever the gap, an undo is done
			_ = one.ask(t, "a", false)
			_ = one.ask(t, "b", false)
			two.registry.start("b")
			sleepFor(gap)
			cutOff.mu.Lock()
			cutOff.value = storage.value
			cutOff.mu.Unlock()
			cutOff.fail(nil)
			sleep()
			two.wants(t, fmt.Sprintf("after %v", gap), want...)
			if n := two.logs.FilterLevelExact(zap.WarnLevel).Len(); (n == 0) != (len(want) > 0) {
				t.Errorf("after %v: %d warnings", gap, n)
			}
		})
	}
}

func TestAStorageThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		storage.failWrites(errors.New("no space left on device"))
		if err := one.ask(t, "a", false); err == nil {
			t.Error("no error")
		}
		sleep()
		one.wants(t, "here", "a")
		two.wants(t, "elsewhere")
	})
}

// TestUnsharedRequests counts here against all that was stored before.
func TestUnsharedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		sleepFor(pollInterval / 2)
		_ = one.ask(t, "a", false)
		_ = two.ask(t, "b", false)
		storage.failWrites(errors.New("no space left on device"))
		for _, id := range []string{"a", "b"} {
			if err := one.ask(t, id, true); err == nil {
				t.Error("no error")
			}
		}
		sleep()
		one.wants(t, "the one that was asked")
		two.wants(t, "the other one", "a", "b")
		storage.failWrites(nil)
		_ = two.ask(t, "a", false)
		sleep()
		one.wants(t, "after a later request", "a")
	})
}

func TestALogWithoutItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a")
		storage.set(t, &eventLog{ID: e.logID, Last: 7})
		sleep()
		e.wants(t, "without an event")
	})
}

func TestMoreEventsThanTheLogHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a", "b")
		sleep()
		log := &eventLog{ID: e.logID, Last: e.last}
		for range 2 * maxEvents {
			log.add(event{Endpoints: []string{"a"}})
		}
		storage.set(t, log)
		sleep()
		e.wants(t, "what has happened before is not known")
		if n := e.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
			t.Errorf("%d warnings", n)
		}
	})
}

// TestALostAnswer: the event is stored, and the edge does not know. All edges have done it, and the edge says that they have not.
func TestALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		storage.lostAnswer = errors.New("connection reset")
		if err := one.ask(t, "a", false); err == nil {
			t.Error("no error")
		}
		storage.lostAnswer = nil
		sleep()
		two.wants(t, "the event", "a")
		_ = one.ask(t, "a", true)
		sleep()
		one.wants(t, "undone")
		two.wants(t, "undone")
	})
}

// TestAnotherStorage: nothing of what its log has is done, however the storage came.
func TestAnotherStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a", "b")
		sleep()
		other := newEventLog()
		for range 10 {
			other.add(event{Endpoints: []string{"a", "b"}})
		}
		storage.set(t, other)
		sleep()
		e.wants(t, "with an old log")
		storage.set(t, new(eventLog)) // it is not mounted for a moment
		sleep()
		storage.set(t, other)
		sleep()
		e.wants(t, "with no log, and the old one")
		other.add(event{Endpoints: []string{"a"}})
		storage.set(t, other)
		sleep()
		e.wants(t, "after a request", "a")
		older := &eventLog{ID: other.ID, Last: 3, Events: other.Events[:3]} // it was restored from a backup
		storage.set(t, older)
		sleep()
		older.add(event{Endpoints: []string{"b"}})
		storage.set(t, older)
		sleep()
		e.wants(t, "after a restore, and a request", "a", "b")
	})
}

func TestABrokenLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		storage.value = []byte("{")
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		if all := one.logs.FilterLevelExact(zap.ErrorLevel).All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()), "the next `edge drain` writes it anew") {
			t.Errorf("got %v", all)
		}
		if err := one.ask(t, "a", false); err != errNewLog {
			t.Errorf("got %v", err)
		}
		sleep()
		two.wants(t, "another edge, after the first request")
		if err := one.ask(t, "a", false); err != nil {
			t.Error(err)
		}
		sleep()
		two.wants(t, "after the second", "a")
	})
}

// TestAStorageThatHangs does not keep the drain from having its effect, nor the answer from coming.
func TestAStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a", "b")
		storage.lock <- struct{}{}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				start := time.Now()
				if err := e.ask(t, "a", false); err == nil || time.Since(start) > 2*time.Second {
					t.Errorf("got %v after %v, want an error within a second", err, time.Since(start))
				}
			})
		}
		all.Wait()
		e.wants(t, "here", "a")
		<-storage.lock
		sleep()

		other := newTestEdge(t, storage, "a", "b")
		sleepFor(pollInterval / 2)
		_ = other.ask(t, "a", false)
		storage.lock <- struct{}{}
		all.Go(func() { _ = e.ask(t, "b", false) })
		synctest.Wait()
		all.Go(func() { _ = e.ask(t, "a", true) }) // it waits for the other request
		all.Wait()
		<-storage.lock
		sleep()
		e.wants(t, "what it was asked for last counts", "b")
	})
}

func TestWithoutAStorage(t *testing.T) {
	f := NewFollower(func() certmagic.Storage { return nil }, &fakeRegistry{}, zap.NewNop(), nil)
	f.Start()
	f.Start()
	defer f.Stop()
	all := []registry.DrainStatus{{EndpointStatus: registry.EndpointStatus{ID: "a"}}}
	if isShared, err := f.Share(t.Context(), all, registry.DrainOptions{}); isShared || err != nil {
		t.Errorf("%t, %v", isShared, err)
	}
}
