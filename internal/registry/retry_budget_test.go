package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// makeRequests makes n requests that the retry budget counts.
func (f *fixture) makeRequests(t *testing.T, n int) {
	t.Helper()
	for range n {
		f.mustAcquire(t, registry.PickOptions{ArrivedAt: time.Now()}).Release()
	}
}

// allowedRetries returns how many of n retries from an endpoint are allowed.
func (f *fixture) allowedRetries(t *testing.T, e *registry.Endpoint, n int) (allowed int) {
	t.Helper()
	for range n {
		ok, err := f.service.AllowRetry(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			allowed++
		}
	}
	return allowed
}

func TestFifthOfTheRequestsMayBeRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{})
		defer f.Close()
		e := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		f.makeRequests(t, 500)
		if n := f.allowedRetries(t, e, 100); n != 100 {
			t.Errorf("%d of 100 retries are allowed", n)
		}
		start := time.Now()
		if n := f.allowedRetries(t, e, 1); n != 0 {
			t.Error("a retry over the budget was allowed")
		}
		if waited := time.Since(start); waited < 2*time.Second || waited > 3*time.Second {
			t.Errorf("the retry waited %s for the budget, want 2s to 3s", waited)
		}
		time.Sleep(10 * time.Second)
		if n := f.allowedRetries(t, e, 11); n != 10 {
			t.Errorf("with no request in ten seconds, %d retries are allowed, want 10", n)
		}
	})
}

func TestRetriesFromRemovedEndpointsCostNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{})
		defer f.Close()
		e := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		f.allowedRetries(t, e, 10)
		done := make(chan bool)
		go func() { ok, _ := f.service.AllowRetry(t.Context(), e); done <- ok }()
		synctest.Wait() // the retry waits until the endpoint leaves rotation
		f.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		if !<-done {
			t.Error("the retry was not allowed although its endpoint is removed")
		}
		if n := f.allowedRetries(t, e, 50); n != 50 {
			t.Errorf("%d of 50 retries are allowed", n)
		}
	})
}

func TestWaitingRetryEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{})
		defer f.Close()
		e := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		f.allowedRetries(t, e, 10)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if ok, err := f.service.AllowRetry(ctx, e); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %t, %v, want context.DeadlineExceeded", ok, err)
		}
	})
}

func TestOldArrivalTimeDoesNotResetTheRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPairFixture(t, registry.Settings{RetryBudget: 0.5})
		defer f.Close()
		old := time.Now()
		time.Sleep(10 * time.Second) // as in maintenance; the old time has the same place in the ring of seconds
		for range 100 {
			f.mustAcquire(t, registry.PickOptions{ArrivedAt: time.Now()}).Release()
		}
		claim := f.mustAcquire(t, registry.PickOptions{ArrivedAt: old})
		defer claim.Release()
		for i := range 50 {
			if allowed, err := f.service.AllowRetry(t.Context(), claim.Endpoint()); !allowed || err != nil {
				t.Fatalf("retry %d of 101 requests was not allowed: %v", i+1, err)
			}
		}
	})
}

func TestRetryBudgetCanBeTurnedOff(t *testing.T) {
	f := newPairFixture(t, registry.Settings{RetryBudget: -1})
	e := f.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
	if n := f.allowedRetries(t, e, 1000); n != 1000 {
		t.Errorf("%d of 1000 retries are allowed", n)
	}
}
