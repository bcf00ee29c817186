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

// shelf is a storage of one value, which can fail.
type shelf struct {
	certmagic.Storage // for what is not asked for

	mu     sync.Mutex
	text   []byte
	fails  map[string]error
	locked int
}

func (s *shelf) do(what string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails[what]; err != nil {
		return err
	}
	return f()
}

func (s *shelf) fail(what string, err error) { s.mu.Lock(); s.fails[what] = err; s.mu.Unlock() }

func (s *shelf) Load(context.Context, string) (text []byte, err error) {
	return text, s.do("load", func() error {
		if text = s.text; text == nil {
			return fs.ErrNotExist
		}
		return nil
	})
}

func (s *shelf) Store(_ context.Context, _ string, text []byte) error {
	return s.do("store", func() error { s.text = text; return nil })
}

func (s *shelf) Lock(context.Context, string) error {
	return s.do("lock", func() error { s.locked++; return nil })
}

func (s *shelf) Unlock(context.Context, string) error {
	return s.do("unlock", func() error { s.locked--; return nil })
}

// follower is an edge that keeps to a shelf.
type follower struct {
	*living
	*shelf
	app  *App
	logs *observer.ObservedLogs
}

// newFollower starts one, within the bubble of synctest.
func newFollower(t *testing.T, fails map[string]error) *follower {
	core, logs := observer.New(zap.InfoLevel)
	f := &follower{&living{registry: registry.New(registry.Options{})}, &shelf{fails: fails}, nil, logs}
	f.app = &App{living: f.living, storage: f.shelf, log: zap.New(core)}
	if _, err := f.registry.Declare("api:80"); err != nil {
		t.Fatal(err)
	}
	f.recall(f.app)
	f.living.mu.Lock()
	f.inForce = f.app
	f.follow()
	f.living.mu.Unlock()
	t.Cleanup(func() {
		f.endFollowing()
		f.registry.Close()
		if f.locked != 0 {
			t.Errorf("the storage is locked %d times", f.locked)
		}
	})
	return f
}

// tell has an edge close or open api:80.
func (f *follower) tell(on bool) error {
	_, err := f.change(context.Background(), f.app, func(was *maintenance.Snapshot) *maintenance.Snapshot {
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

func (f *follower) closed() bool { return f.app.Closure("api:80") != nil }

func TestAnEdgeKeepsToWhatAnotherOneWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		other := &App{living: new(living), storage: f.shelf, log: zap.NewNop()}
		other.living.registry = f.registry
		o := &follower{living: other.living, shelf: f.shelf, app: other}
		for _, on := range []bool{true, false} {
			if err := o.tell(on); err != nil || f.closed() == on {
				t.Fatalf("%v, closed: %t", err, f.closed())
			}
			time.Sleep(maintenancePoll + time.Second)
			if f.closed() != on {
				t.Errorf("after %s, it has not followed", maintenancePoll)
			}
		}
		if got := f.logs.FilterField(zap.String("by", "the storage")).Len(); got != 2 {
			t.Errorf("%d lines in the log, want one for each change: %v", got, f.logs.All())
		}
	})
}

func TestAStorageThatFailsForAWhileEndsNoMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		if err := f.tell(true); err != nil {
			t.Fatal(err)
		}
		f.fail("load", errors.New("no route to host"))
		time.Sleep(10*maintenancePoll + time.Second)
		if errs := f.logs.FilterLevelExact(zap.ErrorLevel).All(); !f.closed() || len(errs) != 1 || !strings.Contains(errs[0].Message, "what is known holds") {
			t.Errorf("closed: %t, errors in the log: %v", f.closed(), errs)
		}
		if err := f.tell(false); err == nil || !f.closed() {
			t.Errorf("%v, closed: %t", err, f.closed())
		}
		f.fail("load", nil)
		time.Sleep(2 * maintenancePoll)
		f.fail("load", errors.New("no route to host"))
		time.Sleep(2 * maintenancePoll)
		if n := f.logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 2 {
			t.Errorf("%d errors in the log, want one for each time that it began to fail", n)
		}
	})
}

func TestAnEdgeThatCouldNotAskAtItsStartAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{"load": errors.New("no route to host")})
		f.text = []byte(`{"services": [{"service": "api:80", "retry_after": "5m"}]}`)
		if f.closed() || f.logs.FilterMessageSnippet("taken for open").Len() != 1 {
			t.Errorf("closed: %t, log: %v", f.closed(), f.logs.All())
		}
		f.fail("load", nil)
		time.Sleep(maintenancePoll + time.Second)
		if !f.closed() {
			t.Error("it is open still")
		}
	})
}

func TestNothingIsHalfChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		for _, what := range []string{"lock", "load", "store"} {
			f.fail(what, errors.New("disk full"))
			if err := f.tell(true); err == nil || !strings.Contains(err.Error(), what+" edge/maintenance.json: disk full") || f.closed() || f.text != nil {
				t.Errorf("%s fails: %v, closed: %t, stored: %s", what, err, f.closed(), f.text)
			}
			f.fail(what, nil)
		}
		f.fail("store", errors.New("disk full"))
		f.fail("unlock", errors.New("gone"))
		if err := f.tell(true); err == nil || !strings.Contains(err.Error(), "unlock edge/maintenance.json: gone") {
			t.Errorf("got %v, want both errors", err)
		}
		f.fail("store", nil)
		if err := f.tell(true); err != nil || !f.closed() { // it is kept
			t.Errorf("got %v, closed: %t", err, f.closed())
		}
		f.locked = 0
	})
}

func TestEachChangeIsALineInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		for _, on := range []bool{true, true, false} {
			if err := f.tell(on); err != nil {
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

func TestMetricsTellWhatIsInMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, map[string]error{})
		if _, err := f.registry.Declare("web:80"); err != nil {
			t.Fatal(err)
		}
		if err := f.tell(true); err != nil {
			t.Fatal(err)
		}
		want := `
# HELP edge_maintenance 1 while an operator has a service in maintenance, else 0.
# TYPE edge_maintenance gauge
edge_maintenance{service="api:80"} 1
edge_maintenance{service="web:80"} 0
`
		if err := testutil.CollectAndCompare(maintenanceMetrics{f.living}, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
}
