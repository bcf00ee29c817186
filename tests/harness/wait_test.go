package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a test that records its failures instead of failing.
type recorder struct {
	testing.TB
	failures []string
	logs     []string
	cleanups []func()
}

func (r *recorder) Helper()           {}
func (r *recorder) Failed() bool      { return len(r.failures) > 0 }
func (r *recorder) Cleanup(f func())  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(args ...any) { r.failures = append(r.failures, fmt.Sprint(args...)) }

func (r *recorder) Errorf(f string, a ...any) { r.failures = append(r.failures, fmt.Sprintf(f, a...)) }
func (r *recorder) Logf(f string, a ...any)   { r.logs = append(r.logs, fmt.Sprintf(f, a...)) }
func (r *recorder) Name() string              { return "TestRecorded" }

// Fatal ends the test function, as the real one does, by a panic that run recovers.
func (r *recorder) Fatal(args ...any)         { r.Error(args...); panic(r) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); panic(r) }

func (r *recorder) run(test func(testing.TB)) {
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
		for i := len(r.cleanups) - 1; i >= 0; i-- {
			r.cleanups[i]()
		}
	}()
	test(r)
}

func (r *recorder) check(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(r.failures, "; "); got != want {
		t.Errorf("the test failed with %q, want %q", got, want)
	}
}

func TestEventuallyPassesOnceItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		Eventually(t, "the third call", func() bool { calls++; return calls == 3 })
		if took := time.Since(began); took != 2*minPause {
			t.Errorf("it took %s, want %s", took, 2*minPause)
		}
	})
}

func TestEventuallyFailsAfterItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, r := time.Now(), &recorder{TB: t}
		r.run(func(t testing.TB) { Eventually(t, "pigs fly", func() bool { return false }) })
		r.check(t, "not within 2m0s: pigs fly")
		if took := time.Since(began); took != StateTimeout {
			t.Errorf("it took %s, want %s", took, StateTimeout)
		}
	})
}

func TestEventuallyValueFailsWithTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, calls := &recorder{TB: t}, 0
		r.run(func(t testing.TB) {
			EventuallyValue(t, time.Second, "a number", func() (int, error) { calls++; return 0, fmt.Errorf("call %d", calls) })
		})
		r.check(t, fmt.Sprintf("not within 1s: a number: call %d", calls))
		if got := EventuallyValue(t, time.Second, "a number", func() (int, error) { return 7, nil }); got != 7 {
			t.Errorf("the value is %d, want 7", got)
		}
	})
}

// TestEventuallyPausesAsLongAsChecksTake: an expensive check keeps at most half of a CPU busy.
func TestEventuallyPausesAsLongAsChecksTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := EventuallyContext(t.Context(), 1900*time.Millisecond, "pigs fly", func() bool {
			calls++
			time.Sleep(200 * time.Millisecond)
			return false
		})
		if err == nil || calls != 5 {
			t.Errorf("%d calls in 1.9 s of a check that takes 200 ms, want 5: %v", calls, err)
		}
	})
}

func TestEventuallyContextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := EventuallyContext(ctx, time.Minute, "pigs fly", func() bool { return false })
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "wait until pigs fly") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestLeakedGoroutinesFailTheTest(t *testing.T) {
	stop := make(chan struct{})
	r := &recorder{TB: t}
	r.run(func(t testing.TB) {
		CheckNoLeaks(t)
		for range 10 { // more than those of earlier tests that may still be ending
			go func() { <-stop }()
		}
	})
	close(stop)
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], "TestLeakedGoroutinesFailTheTest") {
		t.Errorf("the test failed with %q, want the stack of the goroutine", r.failures)
	}
	r = &recorder{TB: t}
	r.run(func(t testing.TB) { CheckNoLeaks(t) })
	r.check(t, "")
}
