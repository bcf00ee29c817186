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

	lock sync.Mutex

	mu     sync.Mutex
	value  []byte
	err    error
	stores int
}

func (s *fakeStorage) Load(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.value == nil {
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

func (s *fakeStorage) Lock(context.Context, string) error {
	err := s.failure()
	if err == nil {
		s.lock.Lock()
	}
	return err
}

func (s *fakeStorage) Unlock(context.Context, string) error {
	s.lock.Unlock()
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
	s.err = err
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
	e.Follower = NewFollower(func() certmagic.Storage { return storage }, e.registry, zap.New(core))
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
		storage := new(fakeStorage)
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
		if n := one.logs.FilterField(zap.String("by", "another edge")).Len(); n != 1 {
			t.Errorf("the first edge has logged %d changes, want the undo: %v", n, one.logs.All())
		}
	})
}

func TestAnEndpointThatComesLaterIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(fakeStorage)
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage)
		_ = one.request(t, "a", false)
		sleep()
		two.registry.start("a")
		sleep()
		two.wants(t, "after its container was found", "a")
		three := newTestEdge(t, storage, "a")
		three.wants(t, "an edge that starts", "a")
	})
}

// TestADrainEndsWithTheContainer: it exits, and starts again with the same ID. One edge sees that later than the other.
func TestADrainEndsWithTheContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(fakeStorage)
		one, two := newTestEdge(t, storage, "a"), newTestEdge(t, storage, "a")
		_ = one.request(t, "a", false)
		sleep()
		one.registry.start("a")
		sleep()
		one.wants(t, "it has restarted")
		two.wants(t, "not seen yet: the container is about to stop", "a")
		two.registry.start("a")
		sleep()
		sleep()
		one.wants(t, "restarted")
		two.wants(t, "restarted")
		newTestEdge(t, storage, "a").wants(t, "an edge that starts")
		_ = two.request(t, "a", false) // drained a second time
		sleep()
		one.wants(t, "the second drain", "a")
		two.wants(t, "the second drain", "a")
	})
}

func TestDrainsWithoutTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(fakeStorage)
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
	})
}

// TestARestartWithoutTheStorage: the storage still has the drain, and it must not be applied to the container that has started again.
func TestARestartWithoutTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(fakeStorage)
		e := newTestEdge(t, storage, "a")
		_ = e.request(t, "a", false)
		storage.fail(errors.New("no route to host"))
		e.registry.start("a")
		sleep()
		storage.fail(nil)
		sleep()
		e.wants(t, "after the storage has recovered")
		stores := storage.stores
		for range 5 {
			sleep()
		}
		if storage.stores != stores {
			t.Errorf("the storage was written %d times without a change", storage.stores-stores)
		}
	})
}

func TestACorruptList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{value: []byte("{")}
		e := newTestEdge(t, storage, "a")
		if err := e.request(t, "a", false); err == nil || !strings.Contains(err.Error(), "`edge drain --undo` of an endpoint writes it anew") {
			t.Errorf("got %v", err)
		}
		e.wants(t, "here", "a")
		if err := e.request(t, "a", true); err != nil {
			t.Error(err)
		}
		if err := e.request(t, "a", false); err != nil {
			t.Error(err)
		}
		newTestEdge(t, storage, "a").wants(t, "another edge", "a")
	})
}

func TestErrorsOfTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(fakeStorage)
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
		if other.logs.FilterMessageSnippet("failed").Len() == 0 {
			t.Errorf("the log has %v", other.logs.All())
		}
	})
}

func TestOldEntriesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := drain{Endpoint: "c", Since: time.Now().Add(-keepUnseen - time.Hour)}
		text, err := json.Marshal(list{[]drain{old}})
		if err != nil {
			t.Fatal(err)
		}
		storage := &fakeStorage{value: text}
		e := newTestEdge(t, storage, "a", "b", "c")
		e.wants(t, "at the start", "c")
		_ = e.request(t, "a", false)
		sleep()
		e.registry.start("a")
		sleepFor(keepEnded + 2*PollInterval)
		_ = e.request(t, "b", false)
		if text := string(storage.value); strings.Contains(text, `"a"`) || !strings.Contains(text, `"b"`) || strings.Contains(text, `"c"`) {
			t.Errorf("the storage has %s", text)
		}
		sleep()
		e.wants(t, "after very long", "b", "c")
	})
}
