package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// StateTimeout is how long tests wait for a state that must come, however busy the machine is.
const StateTimeout = 2 * time.Minute

// The pause between two checks is as long as the last check took, within these limits: a check that runs a docker command must
// not keep a CPU busy.
const (
	minPause = 20 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// Eventually waits until holds returns true, for at most StateTimeout. what is the sentence that holds checks.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	EventuallyWithin(t, StateTimeout, what, holds)
}

// EventuallyWithin waits until holds returns true, and fails the test if that takes longer than limit.
func EventuallyWithin(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if err := EventuallyContext(context.Background(), limit, what, holds); err != nil {
		t.Fatal(err)
	}
}

// EventuallyValue waits until get returns a value without an error, and returns the value. After limit, the test fails with the
// last error.
func EventuallyValue[T any](t testing.TB, limit time.Duration, what string, get func() (T, error)) T {
	t.Helper()
	var value T
	var last error
	err := EventuallyContext(context.Background(), limit, what, func() bool {
		value, last = get()
		return last == nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, last)
	}
	return value
}

var errTimeLimit = errors.New("time limit")

// EventuallyContext waits until holds returns true. It returns an error after limit, or when ctx ends. It calls holds at least
// once.
func EventuallyContext(ctx context.Context, limit time.Duration, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeLimit)
	defer cancel()
	for {
		began := time.Now()
		if holds() {
			return nil
		}
		if ctx.Err() == nil {
			pause(ctx, min(max(time.Since(began), minPause), maxPause))
		}
		switch cause := context.Cause(ctx); {
		case cause == nil:
		case errors.Is(cause, errTimeLimit):
			return fmt.Errorf("not within %s: %s", limit, what)
		default:
			return fmt.Errorf("wait until %s: %w", what, cause)
		}
	}
}

// pause returns after d, or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
