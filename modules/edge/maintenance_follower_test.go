package edge

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/theworklabs/edge/internal/maintenance"
	"github.com/theworklabs/edge/internal/registry"
)

// fakeStorage is a storage of one value, which can fail.
type fakeStorage struct {
	certmagic.Storage // for what is not asked for

	mu        sync.Mutex
	value     []byte
	failures  map[string]error
	lockDepth int
}

func (s *fakeStorage) perform(what string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failures[what]; err != nil {
		return err
	}
	return f()
}

func (s *fakeStorage) setFailure(what string, err error) {
	s.mu.Lock()
	s.failures[what] = err
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

// follower is an edge that keeps to a shelf.
type follower struct {
	*runtime
	*fakeStorage
	app  *App
	logs *observer.ObservedLogs
}

// newFollower starts one, within the bubble of synctest.
func newFollower(t *testing.T, fails map[string]error) *follower {
	core, logs := observer.New(zap.InfoLevel)
	f := &follower{&runtime{registry: registry.New(registry.Options{})}, &fakeStorage{failures: fails}, nil, logs}
	f.app = &App{runtime: f.runtime, storage: f.fakeStorage, log: zap.New(core)}
	if _, err := f.registry.Declare("api:80"); err != nil {
		t.Fatal(err)
	}
	f.restoreMaintenance(f.app)
	f.runtime.mu.Lock()
	f.active = f.app
	f.startMaintenanceFollower()
	f.runtime.mu.Unlock()
	t.Cleanup(func() {
		f.stopMaintenanceFollower()
		f.registry.Close()
		if f.lockDepth != 0 {
			t.Errorf("the storage is locked %d times", f.lockDepth)
		}
	})
	return f
}

// setMaintenance has an edge close or open api:80.
func (f *follower) setMaintenance(on bool) error {
	_, err := f.updateMaintenance(context.Background(), f.app, func(was *maintenance.Snapshot) *maintenance.Snapshot {
		switch {
		case was == nil:
			return nil
		case on:
			return was.With(maintenance.Window{Service: "api:80", RetryAfter: maintenance.Duration(time.Minute)})
		}
		return was.Without("api:80")
	})
	return err
}

func (f *follower) isInMaintenance() bool { return f.app.MaintenanceWindow("api:80") != nil }

func TestMaintenanceFollowsOtherEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		other := &App{runtime: new(runtime), storage: f.fakeStorage, log: zap.NewNop()}
		other.runtime.registry = f.registry
		o := &follower{runtime: other.runtime, fakeStorage: f.fakeStorage, app: other}
		for _, on := range []bool{true, false} {
			if err := o.setMaintenance(on); err != nil || f.isInMaintenance() == on {
				t.Fatalf("%v, closed: %t", err, f.isInMaintenance())
			}
			time.Sleep(maintenancePollInterval + time.Second)
			if f.isInMaintenance() != on {
				t.Errorf("after %s, it has not followed", maintenancePollInterval)
			}
		}
		if got := f.logs.FilterField(zap.String("by", "the storage")).Len(); got != 2 {
			t.Errorf("%d lines in the log, want one for each change: %v", got, f.logs.All())
		}
	})
}

func TestStorageFailureDoesNotEndMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		if err := f.setMaintenance(true); err != nil {
			t.Fatal(err)
		}
		f.setFailure("load", errors.New("no route to host"))
		time.Sleep(10*maintenancePollInterval + time.Second)
		if errs := f.logs.FilterLevelExact(zap.ErrorLevel).All(); !f.isInMaintenance() || len(errs) != 1 || !strings.Contains(errs[0].Message, "what is known holds") {
			t.Errorf("closed: %t, errors in the log: %v", f.isInMaintenance(), errs)
		}
		if err := f.setMaintenance(false); err == nil || !f.isInMaintenance() {
			t.Errorf("%v, closed: %t", err, f.isInMaintenance())
		}
		f.setFailure("load", nil)
		time.Sleep(2 * maintenancePollInterval)
		f.setFailure("load", errors.New("no route to host"))
		time.Sleep(2 * maintenancePollInterval)
		if n := f.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 2 {
			t.Errorf("%d errors in the log, want one for each time that it began to fail", n)
		}
	})
}

func TestMaintenanceLoadIsRetriedAfterStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{"load": errors.New("no route to host")})
		f.value = []byte(`{"services": [{"service": "api:80", "retry_after": "5m"}]}`)
		if f.isInMaintenance() || f.logs.FilterMessageSnippet("taken for open").Len() != 1 {
			t.Errorf("closed: %t, log: %v", f.isInMaintenance(), f.logs.All())
		}
		f.setFailure("load", nil)
		time.Sleep(maintenancePollInterval + time.Second)
		if !f.isInMaintenance() {
			t.Error("it is open still")
		}
	})
}

func TestFailedMaintenanceUpdateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		for _, what := range []string{"lock", "load", "store"} {
			f.setFailure(what, errors.New("disk full"))
			if err := f.setMaintenance(true); err == nil || !strings.Contains(err.Error(), what+" edge/maintenance.json: disk full") || f.isInMaintenance() || f.value != nil {
				t.Errorf("%s fails: %v, closed: %t, stored: %s", what, err, f.isInMaintenance(), f.value)
			}
			f.setFailure(what, nil)
		}
		f.setFailure("store", errors.New("disk full"))
		f.setFailure("unlock", errors.New("gone"))
		if err := f.setMaintenance(true); err == nil || !strings.Contains(err.Error(), "unlock edge/maintenance.json: gone") {
			t.Errorf("got %v, want both errors", err)
		}
		f.setFailure("store", nil)
		if err := f.setMaintenance(true); err != nil || !f.isInMaintenance() { // it is kept
			t.Errorf("got %v, closed: %t", err, f.isInMaintenance())
		}
		f.lockDepth = 0
	})
}

func TestEachMaintenanceChangeIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
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

func TestMetricsShowMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		if _, err := f.registry.Declare("web:80"); err != nil {
			t.Fatal(err)
		}
		if err := f.setMaintenance(true); err != nil {
			t.Fatal(err)
		}
		want := `
# HELP edge_maintenance 1 while an operator has a service in maintenance, else 0.
# TYPE edge_maintenance gauge
edge_maintenance{service="api:80"} 1
edge_maintenance{service="web:80"} 0
`
		if err := testutil.CollectAndCompare(maintenanceMetrics{f.runtime}, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
}
