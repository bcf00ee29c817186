package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// makeRequests makes n requests.
func (s *fixture) makeRequests(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.mustAcquire(t, registry.PickOptions{ArrivedAt: time.Now()}).Release()
	}
}

// allowedRetries returns how many of n retries from an endpoint are allowed.
func (s *fixture) allowedRetries(t *testing.T, e *registry.Endpoint, n int) (allowed int) {
	t.Helper()
	for range n {
		ok, err := s.service.AllowRetry(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			allowed++
		}
	}
	return allowed
}

func TestAFifthOfTheRequestsMayBeRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{})
		defer s.Close()
		e := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		s.makeRequests(t, 500)
		if n := s.allowedRetries(t, e, 100); n != 100 {
			t.Errorf("%d of 100 allowed", n)
		}
		began := time.Now()
		if n := s.allowedRetries(t, e, 1); n != 0 {
			t.Error("one over the budget was allowed")
		}
		if waited := time.Since(began); waited < 2*time.Second || waited > 3*time.Second {
			t.Errorf("it waited %s for the budget", waited)
		}
		time.Sleep(10 * time.Second)
		if n := s.allowedRetries(t, e, 11); n != 10 {
			t.Errorf("with no request in ten seconds, %d retries are allowed, want 10", n)
		}
	})
}

func TestRetriesFromRemovedEndpointsCostNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{})
		defer s.Close()
		e := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		s.allowedRetries(t, e, 10)
		done := make(chan bool)
		go func() { ok, _ := s.service.AllowRetry(t.Context(), e); done <- ok }()
		synctest.Wait() // it waits to see what becomes of the endpoint
		s.engine.Set("api", []registry.Member{engineMember(idB, "10.0.0.2")})
		if !<-done {
			t.Error("its endpoint is gone, and the request may not be sent again")
		}
		if n := s.allowedRetries(t, e, 50); n != 50 {
			t.Errorf("%d of 50 allowed", n)
		}
	})
}

func TestWaitingRetryEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPairFixture(t, registry.Settings{})
		defer s.Close()
		e := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
		s.allowedRetries(t, e, 10)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if ok, err := s.service.AllowRetry(ctx, e); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%t %v", ok, err)
		}
	})
}

func TestTheRetryBudgetCanBeTurnedOff(t *testing.T) {
	s := newPairFixture(t, registry.Settings{RetryBudget: -1})
	e := s.mustAcquire(t, registry.PickOptions{Prefer: idA}).Endpoint()
	if n := s.allowedRetries(t, e, 1000); n != 1000 {
		t.Errorf("%d of 1000 allowed", n)
	}
}
