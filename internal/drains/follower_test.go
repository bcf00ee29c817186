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
func (s *fakeStorage) set(t *testing.T, l *requestLog) {
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
	endpoints map[string]bool
	grace     time.Duration // of the last request
	err       error
}

func (r *fakeRegistry) Drain(ids []string, opts registry.DrainOptions) (all []registry.DrainStatus, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	for _, id := range ids {
		if _, isKnown := r.endpoints[id]; !isKnown {
			return nil, fmt.Errorf("%q: %w", id, registry.ErrNoEndpoint)
		}
		r.endpoints[id], r.grace = !opts.Undo, opts.SessionGrace
		all = append(all, registry.DrainStatus{EndpointStatus: registry.EndpointStatus{ID: id}})
	}
	return all, nil
}

func (r *fakeRegistry) DrainedIDs() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, isDrained := range r.endpoints {
		if isDrained {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// start adds the endpoint of a container that starts; one that had the same ID has exited.
func (r *fakeRegistry) start(id string) {
	r.mu.Lock()
	r.endpoints[id] = false
	r.mu.Unlock()
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
	e := &testEdge{registry: &fakeRegistry{endpoints: make(map[string]bool)}, logs: logs}
	for _, id := range endpoints {
		e.registry.endpoints[id] = false
	}
	log := zap.New(core)
	e.Follower = NewFollower(func() certmagic.Storage { return storage }, e.registry, log, func(all []registry.DrainStatus, isUndo bool) {
		log.Info("requested by another edge", zap.String("id", all[0].ID), zap.Bool("undo", isUndo))
	})
	e.Start()
	t.Cleanup(e.Stop)
	synctest.Wait() // it has read the storage once
	return e
}

// request drains an endpoint, or undoes that.
func (e *testEdge) request(t *testing.T, id string, undo bool) (notShared error) {
	t.Helper()
	_, notShared, err := e.Drain(t.Context(), []string{id}, registry.DrainOptions{SessionGrace: 10 * time.Second, Undo: undo})
	if err != nil {
		t.Fatal(err)
	}
	return notShared
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
func sleep() { sleepFor(PollInterval + time.Millisecond) }

func sleepFor(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAllEdgesDrainAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		if err := one.request(t, "a", false); err != nil {
			t.Fatal(err)
		}
		one.wants(t, "at once", "a")
		two.wants(t, "before it has read the storage")
		sleep()
		one.wants(t, "later", "a")
		two.wants(t, "later", "a")
		if left := two.registry.grace; left < 7*time.Second || left > 10*time.Second {
			t.Errorf("sessions get %v at the other edge, want what is left of 10s", left)
		}
		if err := two.request(t, "a", true); err != nil { // at the other one
			t.Fatal(err)
		}
		sleep()
		one.wants(t, "undone")
		two.wants(t, "undone")
		if n := one.logs.FilterMessage("requested by another edge").Len(); n != 1 {
			t.Errorf("the first edge has logged %d changes, want the undo: %v", n, one.logs.All())
		}
	})
}

func TestAnEndpointThatComesLaterIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage)
		_ = one.request(t, "a", false)
		_ = one.request(t, "b", false)
		sleep()
		two.registry.start("a")
		sleep()
		two.wants(t, "after its container was found", "a")
		sleepFor(findTimeout)
		two.registry.start("b")
		sleep()
		two.wants(t, "a container that is found long after", "a")
	})
}

// TestAnEdgeThatStarts does what was requested just before, and nothing older: since then, the container may have exited and started again, as it does when
// the machine boots.
func TestAnEdgeThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one := newTestEdge(t, storage, "a", "b", "c")
		_ = one.request(t, "a", false)
		_ = one.request(t, "c", true)
		sleepFor(startWindow)
		_ = one.request(t, "b", false)
		newTestEdge(t, storage, "a", "b", "c").wants(t, "an edge that starts", "b")
		sleepFor(startWindow)
		three := newTestEdge(t, storage, "a", "b", "c")
		three.wants(t, "one that starts later")
		_ = one.request(t, "a", false) // a second time
		sleep()
		three.wants(t, "a later request", "a")
	})
}

// TestADrainEndsWithTheContainer: it exits, and starts again with the same ID. One edge sees that later than the other.
func TestADrainEndsWithTheContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		_ = one.request(t, "a", false)
		sleep()
		one.registry.start("a")
		sleep()
		one.wants(t, "it has restarted")
		two.wants(t, "not seen yet", "a")
		two.registry.start("a")
		sleep()
		one.wants(t, "restarted")
		two.wants(t, "restarted")
		_ = two.request(t, "a", false) // drained a second time
		sleep()
		one.wants(t, "the second drain", "a")
		two.wants(t, "the second drain", "a")
	})
}

// TestAllEdgesEndWithTheSameState when two are asked for the opposite at the same time.
func TestAllEdgesEndWithTheSameState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		for range 20 {
			var both sync.WaitGroup
			both.Go(func() { _ = one.request(t, "a", false) })
			both.Go(func() { _ = two.request(t, "a", true) })
			both.Wait()
			sleep()
			one.wants(t, "after both requests", two.registry.DrainedIDs()...)
		}
	})
}

func TestDrainsWithoutTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		_ = one.request(t, "b", false)
		sleep()
		storage.fail(errors.New("no route to host"))
		if err := one.request(t, "a", false); err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("got %v", err)
		}
		if err := two.request(t, "b", true); err == nil {
			t.Error("no error")
		}
		for range 5 {
			sleep()
		}
		one.wants(t, "meanwhile", "a", "b")
		two.wants(t, "meanwhile")
		if n := one.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
			t.Errorf("%d errors in the log, want one: %v", n, one.logs.All())
		}
		storage.fail(nil)
		sleep()
		sleep()
		one.wants(t, "it answers again", "a")
		two.wants(t, "it answers again", "a")
		stores := storage.stores
		for range 5 {
			sleep()
		}
		if storage.stores != stores {
			t.Errorf("the storage was written %d times without a request", storage.stores-stores)
		}
	})
}

// TestAStorageThatCannotBeWritten can be read: what others were asked for is done. What this edge was asked for is told later, unless that is over by then,
// or something newer was requested.
func TestAStorageThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b", "c"), newTestEdge(t, storage, "a", "b", "c")
		_ = one.request(t, "a", false) // so that there is something to read
		sleep()
		storage.failWrites(errors.New("no space left on device"))
		for _, id := range []string{"a", "b", "c"} {
			if err := one.request(t, id, id == "a"); err == nil {
				t.Error("no error")
			}
		}
		sleepFor(time.Minute)
		one.registry.start("c") // the container of c has started again
		storage.failWrites(nil)
		if err := two.request(t, "b", true); err != nil { // before one tries again
			t.Fatal(err)
		}
		sleep()
		sleep()
		one.wants(t, "it can be written")
		two.wants(t, "it can be written")
	})
}

// TestARequestThatCannotBeStored does not hide those of others.
func TestARequestThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := newStorage()
		full.failWrites(errors.New("no space left on device"))
		log := newRequestLog()
		now := time.Now()
		one := newTestEdge(t, full, "a", "b", "c")
		_ = one.request(t, "a", false)
		_ = one.request(t, "c", false)
		log.add([]request{
			{Endpoint: "a", Undo: true, RequestedAt: now.Add(time.Second)},
			{Endpoint: "b", RequestedAt: now},
			{Endpoint: "c", Undo: true, RequestedAt: now.Add(-time.Second)},
		})
		full.set(t, log)
		sleep()
		one.wants(t, "after a newer undo of a, and an older one of c", "b", "c")
	})
}

// TestClocksThatDiffer: that of the edge that was asked is an hour behind.
func TestClocksThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a")
		log := newRequestLog()
		for i := range 4 {
			isDrain := i%2 == 0
			log.add([]request{{Endpoint: "a", Undo: !isDrain, RequestedAt: time.Now().Add(-time.Hour)}})
			storage.set(t, log)
			sleep()
			if got := len(e.registry.DrainedIDs()) == 1; got != isDrain {
				t.Errorf("request %d: drained %t, want %t", i, got, isDrain)
			}
		}
	})
}

func TestAnotherStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		one, two := newTestEdge(t, storage, "a", "b"), newTestEdge(t, storage, "a", "b")
		_ = one.request(t, "a", false)
		sleep()
		other := newRequestLog()
		long := time.Now().Add(-time.Hour)
		for range 10 {
			other.add([]request{{Endpoint: "a", Undo: true, RequestedAt: long}, {Endpoint: "b", RequestedAt: long}})
		}
		storage.set(t, other)
		sleep()
		one.wants(t, "with an old log", "a")
		two.wants(t, "with an old log", "a")
		storage.set(t, new(requestLog))
		sleep()
		two.wants(t, "with an empty one", "a")
		_ = one.request(t, "b", false)
		sleep()
		two.wants(t, "after a request", "a", "b")
	})
}

func TestACorruptLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		storage.value = []byte("{")
		e, other := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		if err := e.request(t, "a", false); err == nil || !strings.Contains(err.Error(), "the next `edge drain --undo` writes it anew") {
			t.Errorf("got %v", err)
		}
		e.wants(t, "here", "a")
		if err := e.request(t, "a", true); err != nil {
			t.Error(err)
		}
		if err := e.request(t, "a", false); err != nil {
			t.Error(err)
		}
		sleep()
		other.wants(t, "another edge", "a")
	})
}

// TestAStorageThatHangs does not keep the drain from having its effect, nor the answer from coming.
func TestAStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a")
		storage.lock <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, notShared, err := e.Drain(ctx, []string{"a"}, registry.DrainOptions{}); notShared == nil || err != nil {
			t.Errorf("got %v, %v, want only that it is not shared", notShared, err)
		}
		e.wants(t, "here", "a")
		<-storage.lock
		sleep()
		newTestEdge(t, storage, "a").wants(t, "the storage answers", "a")
	})
}

func TestWithoutAStorage(t *testing.T) {
	f := NewFollower(func() certmagic.Storage { return nil }, &fakeRegistry{endpoints: map[string]bool{"a": false}}, zap.NewNop(), nil)
	for range 3 {
		if _, notShared, err := f.Drain(t.Context(), []string{"a"}, registry.DrainOptions{}); notShared != nil || err != nil {
			t.Errorf("got %v, %v", notShared, err)
		}
	}
	f.follow(t.Context())
	if len(f.unsaved) > 1 {
		t.Errorf("%d requests are kept for one endpoint", len(f.unsaved))
	}
	f.Start()
	f.Stop()
}

func TestErrorsOfTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newStorage()
		e := newTestEdge(t, storage, "a")
		if _, _, err := e.Drain(t.Context(), []string{"x"}, registry.DrainOptions{}); !errors.Is(err, registry.ErrNoEndpoint) || storage.stores != 0 {
			t.Errorf("got %v, and %d writes", err, storage.stores)
		}
		other := newTestEdge(t, storage, "a")
		other.registry.mu.Lock()
		other.registry.err = errors.New("closed")
		other.registry.mu.Unlock()
		_ = e.request(t, "a", false)
		sleep()
		if other.logs.FilterMessageSnippet("failed").Len() != 1 {
			t.Errorf("the log has %v", other.logs.All())
		}
	})
}

func TestTheLogIsBounded(t *testing.T) {
	l := newRequestLog()
	for i := range 3 * maxRequests {
		l.add([]request{{Endpoint: fmt.Sprint(i)}})
	}
	if len(l.Requests) != maxRequests || l.last(fmt.Sprint(3*maxRequests-1)) == nil || l.last("0") != nil {
		t.Errorf("%d requests, the last is %+v", len(l.Requests), l.Requests[len(l.Requests)-1])
	}
}
