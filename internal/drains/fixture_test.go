package drains

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
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
	calls     int
	err       error
}

type fakeEndpoint struct {
	found     time.Time
	isDrained bool
}

func (r *fakeRegistry) Drain(ids []string, opts registry.DrainOptions) (all []registry.DrainStatus, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
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
