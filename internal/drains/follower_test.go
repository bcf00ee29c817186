package drains

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/registry"
)

// fakeStorage is a storage of one value, which can fail.
type fakeStorage struct {
	certmagic.Storage // nil: the follower calls only the methods below

	lock chan struct{} // has one element while it is locked

	mu         sync.Mutex
	value      []byte
	err        error
	isReadOnly bool // err is only that of writes
	stores     int
	lostAnswer error // a store has its effect, and this error
}

// newStorage returns an empty storage, of the bubble of synctest that the caller is in.
func newStorage() *fakeStorage { return &fakeStorage{lock: make(chan struct{}, 1)} }

func (s *fakeStorage) Load(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isReadOnly && s.value != nil:
		return s.value, nil
	case s.err == nil && s.value == nil:
		return nil, fs.ErrNotExist
	}
	return s.value, s.err
}

func (s *fakeStorage) Store(_ context.Context, _ string, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.value = text
		s.stores++
		return s.lostAnswer
	}
	return s.err
}

func (s *fakeStorage) Lock(ctx context.Context, _ string) error {
	if err := s.failure(); err != nil {
		return err
	}
	select {
	case s.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStorage) Unlock(context.Context, string) error {
	<-s.lock
	return nil
}

func (s *fakeStorage) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail has all calls fail from now on; nil has them succeed.
func (s *fakeStorage) fail(err error) {
	s.mu.Lock()
	s.err, s.isReadOnly = err, false
	s.mu.Unlock()
}

// failWrites has all calls fail that change the storage.
func (s *fakeStorage) failWrites(err error) {
	s.mu.Lock()
	s.err, s.isReadOnly = err, err != nil
	s.mu.Unlock()
}

// set replaces the stored value.
func (s *fakeStorage) set(t *testing.T, l *eventLog) {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.value = text
	s.mu.Unlock()
}

// fakeRegistry has endpoints, and which of them are drained.
type fakeRegistry struct {
	mu        sync.Mutex
	endpoints map[string]*fakeEndpoint
	grace     time.Duration // of the last request
	err       error
}

type fakeEndpoint struct {
	found     time.Time
	isDrained bool
}

func (r *fakeRegistry) Drain(ids []string, opts registry.DrainOptions) (all []registry.DrainStatus, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	for _, id := range ids {
		e, isKnown := r.endpoints[id]
		if !isKnown || !opts.FoundBefore.IsZero() && !e.found.Before(opts.FoundBefore) {
			return nil, fmt.Errorf("%q: %w", id, registry.ErrNoEndpoint)
		}
		e.isDrained, r.grace = !opts.Undo, opts.SessionGrace
		all = append(all, registry.DrainStatus{EndpointStatus: registry.EndpointStatus{ID: id, Source: registry.Engine.String()}})
	}
	return all, nil
}

func (r *fakeRegistry) DrainedIDs() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, e := range r.endpoints {
		if e.isDrained {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// start adds the endpoint of a container that starts; one that had the same ID has exited.
func (r *fakeRegistry) start(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.endpoints[id] = &fakeEndpoint{found: time.Now()}
	}
}

// testEdge is the follower of one edge.
type testEdge struct {
	*Follower
	registry *fakeRegistry
	logs     *observer.ObservedLogs
}

// newTestEdge starts a follower, within the bubble of synctest. Edges with the same storage share it.
func newTestEdge(t *testing.T, storage *fakeStorage, endpoints ...string) *testEdge {
	core, logs := observer.New(zap.InfoLevel)
	e := &testEdge{registry: &fakeRegistry{endpoints: make(map[string]*fakeEndpoint)}, logs: logs}
	e.registry.start(endpoints...)
	time.Sleep(time.Millisecond) // found before the storage is read
	log := zap.New(core)
	e.Follower = NewFollower(func() certmagic.Storage { return storage }, e.registry, log, func(all []registry.DrainStatus, isUndo bool) {
		log.Info("asked by another edge", zap.String("id", all[0].ID), zap.Bool("undo", isUndo))
	})
	e.Start()
	t.Cleanup(e.Stop)
	synctest.Wait() // it has read the storage once
	return e
}

// ask drains an endpoint here, or undoes that, as an operator does, and tells the others.
func (e *testEdge) ask(t *testing.T, id string, undo bool) error {
	t.Helper()
	opts := registry.DrainOptions{SessionGrace: 10 * time.Second, Undo: undo}
	endpoints, err := e.registry.Drain([]string{id}, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	isShared, err := e.Share(ctx, endpoints, opts)
	if isShared != (err == nil) {
		t.Errorf("shared: %t, %v", isShared, err)
	}
	return err
}

// wants fails the test unless exactly these endpoints are drained.
func (e *testEdge) wants(t *testing.T, when string, ids ...string) {
	t.Helper()
	synctest.Wait()
	if got := e.registry.DrainedIDs(); !slices.Equal(got, ids) {
		t.Errorf("%s: %q are drained, want %q", when, got, ids)
	}
}

// sleep lets all edges read the storage.
func sleep() { sleepFor(SharedWithin) }

func sleepFor(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

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

// TestAllEdgesEndWithTheSameState when two are asked for the opposite at the same time, whichever is told first.
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
		// An edge reads the opposite after it has drained the endpoint, and before it has told the others.
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

// TestWithoutTheStorage: the others are not told, also not later.
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

// TestWhatOthersAreNotTold counts here against all that was stored before.
func TestWhatOthersAreNotTold(t *testing.T) {
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
