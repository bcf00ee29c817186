package maintenance

import (
	"context"
	"errors"
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
)

// fakeStorage is a storage of one value, which can fail.
type fakeStorage struct {
	certmagic.Storage // nil: the follower calls only the methods below

	mu        sync.Mutex
	value     []byte
	failures  map[string]error // by method
	lockDepth int
}

func (s *fakeStorage) perform(method string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failures[method]; err != nil {
		return err
	}
	return f()
}

func (s *fakeStorage) setFailure(method string, err error) {
	s.mu.Lock()
	s.failures[method] = err
	s.mu.Unlock()
}

func (s *fakeStorage) Load(context.Context, string) (text []byte, err error) {
	return text, s.perform("load", func() error {
		if text = s.value; text == nil {
			return fs.ErrNotExist
		}
		return nil
	})
}

func (s *fakeStorage) Store(_ context.Context, _ string, text []byte) error {
	return s.perform("store", func() error { s.value = text; return nil })
}

func (s *fakeStorage) Lock(context.Context, string) error {
	return s.perform("lock", func() error { s.lockDepth++; return nil })
}

func (s *fakeStorage) Unlock(context.Context, string) error {
	return s.perform("unlock", func() error { s.lockDepth--; return nil })
}

// testFollower is a follower with its storage and its log.
type testFollower struct {
	*Follower
	storage *fakeStorage
	logs    *observer.ObservedLogs
	closed  []string // the services that onClosed was called for
}

// newTestFollower starts a follower, within the bubble of synctest.
func newTestFollower(t *testing.T, storage *fakeStorage) *testFollower {
	core, logs := observer.New(zap.InfoLevel)
	f := &testFollower{storage: storage, logs: logs}
	f.Follower = NewFollower(func() certmagic.Storage { return storage }, zap.New(core), func(service string) { f.closed = append(f.closed, service) })
	f.Load(storage)
	f.Start()
	t.Cleanup(func() {
		f.Stop()
		if storage.lockDepth != 0 {
			t.Errorf("the storage is locked %d times", storage.lockDepth)
		}
	})
	return f
}

func newFakeStorage() *fakeStorage { return &fakeStorage{failures: make(map[string]error)} }

// setMaintenance begins or ends the maintenance of api:80.
func (f *testFollower) setMaintenance(on bool) error {
	_, err := f.Update(context.Background(), f.storage, func(stored *Snapshot) *Snapshot {
		switch {
		case stored == nil:
			return nil
		case on:
			return stored.With(Window{Service: "api:80", RetryAfter: Duration(time.Minute)})
		}
		return stored.Without("api:80")
	})
	return err
}

func (f *testFollower) isInMaintenance() bool { return f.Snapshot().Window("api:80") != nil }

func TestFollowerAppliesChangesOfOtherEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newFakeStorage()
		f, other := newTestFollower(t, storage), newTestFollower(t, storage)
		for _, on := range []bool{true, false} {
			if err := other.setMaintenance(on); err != nil || f.isInMaintenance() == on {
				t.Fatalf("%v, in maintenance: %t", err, f.isInMaintenance())
			}
			time.Sleep(pollInterval + time.Second)
			if f.isInMaintenance() != on {
				t.Errorf("after %s, in maintenance: %t, want %t", pollInterval, f.isInMaintenance(), on)
			}
		}
		if got := f.logs.FilterField(zap.String("by", "the storage")).Len(); got != 2 {
			t.Errorf("%d lines in the log, want one for each change: %v", got, f.logs.All())
		}
		if !slices.Equal(f.closed, []string{"api:80"}) {
			t.Errorf("onClosed was called for %q, want api:80 once", f.closed)
		}
	})
}

func TestStorageFailureDoesNotEndMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFollower(t, newFakeStorage())
		if err := f.setMaintenance(true); err != nil {
			t.Fatal(err)
		}
		f.storage.setFailure("load", errors.New("no route to host"))
		time.Sleep(10*pollInterval + time.Second)
		if errs := f.logs.FilterLevelExact(zap.ErrorLevel).All(); !f.isInMaintenance() || len(errs) != 1 || !strings.Contains(errs[0].Message, "those in force stay") {
			t.Errorf("in maintenance: %t, errors in the log: %v", f.isInMaintenance(), errs)
		}
		if err := f.setMaintenance(false); err == nil || !f.isInMaintenance() {
			t.Errorf("%v, in maintenance: %t", err, f.isInMaintenance())
		}
		f.storage.setFailure("load", nil)
		time.Sleep(2 * pollInterval)
		f.storage.setFailure("load", errors.New("no route to host"))
		time.Sleep(2 * pollInterval)
		if n := f.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 2 {
			t.Errorf("%d errors in the log, want one for each time that the storage began to fail", n)
		}
	})
}

func TestFailedLoadIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newFakeStorage()
		storage.setFailure("load", errors.New("no route to host"))
		storage.value = []byte(`{"services": [{"service": "api:80", "retry_after": "5m"}]}`)
		f := newTestFollower(t, storage)
		if f.isInMaintenance() || f.logs.FilterMessageSnippet("all services are open").Len() != 1 {
			t.Errorf("in maintenance: %t, log: %v", f.isInMaintenance(), f.logs.All())
		}
		storage.setFailure("load", nil)
		time.Sleep(pollInterval + time.Second)
		if !f.isInMaintenance() {
			t.Error("the window is not in force after the storage has recovered")
		}
	})
}

func TestFollowerWithoutStorageKeepsItsWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := newFakeStorage()
		f := NewFollower(func() certmagic.Storage { return nil }, zap.NewNop(), func(string) {})
		storage.value = []byte(`{"services": [{"service": "api:80", "retry_after": "5m"}]}`)
		f.Load(storage)
		f.Start()
		time.Sleep(2 * pollInterval)
		f.Stop()
		if f.Snapshot().Window("api:80") == nil {
			t.Error("the window is gone")
		}
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFollower(t, newFakeStorage())
		for _, method := range []string{"lock", "load", "store"} {
			f.storage.setFailure(method, errors.New("disk full"))
			if err := f.setMaintenance(true); err == nil || !strings.Contains(err.Error(), method+" edge/maintenance.json: disk full") || f.isInMaintenance() || f.storage.value != nil {
				t.Errorf("%s fails: %v, in maintenance: %t, stored: %s", method, err, f.isInMaintenance(), f.storage.value)
			}
			f.storage.setFailure(method, nil)
		}
		f.storage.setFailure("store", errors.New("disk full"))
		f.storage.setFailure("unlock", errors.New("gone"))
		if err := f.setMaintenance(true); err == nil || !strings.Contains(err.Error(), "unlock edge/maintenance.json: gone") {
			t.Errorf("got %v, want both errors", err)
		}
		f.storage.setFailure("store", nil)
		if err := f.setMaintenance(true); err != nil || !f.isInMaintenance() { // stored, although the lock stays
			t.Errorf("got %v, in maintenance: %t", err, f.isInMaintenance())
		}
		f.storage.lockDepth = 0
	})
}

func TestEachChangeIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFollower(t, newFakeStorage())
		for _, on := range []bool{true, true, false} {
			if err := f.setMaintenance(on); err != nil {
				t.Fatal(err)
			}
		}
		var lines []string
		for _, e := range f.logs.All() {
			lines = append(lines, e.Message+" "+e.ContextMap()["service"].(string)+" "+e.ContextMap()["by"].(string))
		}
		if got := strings.Join(lines, "; "); got != "maintenance is on api:80 the admin API; maintenance is off api:80 the admin API" {
			t.Errorf("the log has %s", got)
		}
	})
}
