package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theworklabs/edge/internal/registry"
)

// requests makes n requests.
func (s *stack) requests(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.claim(t, registry.Want{At: time.Now()}).Release()
	}
}

// retries returns how many of n retries from an endpoint are allowed.
func (s *stack) retries(t *testing.T, e *registry.Endpoint, n int) (allowed int) {
	t.Helper()
	for range n {
		ok, err := s.service.Retry(t.Context(), e)
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
		s := pair(t, registry.Settings{})
		defer s.Close()
		e := s.claim(t, registry.Want{Prefer: idA}).Endpoint()
		s.requests(t, 500)
		if n := s.retries(t, e, 100); n != 100 {
			t.Errorf("%d of 100 allowed", n)
		}
		began := time.Now()
		if n := s.retries(t, e, 1); n != 0 {
			t.Error("one over the budget was allowed")
		}
		if waited := time.Since(began); waited < 2*time.Second || waited > 3*time.Second {
			t.Errorf("it waited %s for the budget", waited)
		}
		time.Sleep(10 * time.Second)
		if n := s.retries(t, e, 11); n != 10 {
			t.Errorf("with no request in ten seconds, %d retries are allowed, want 10", n)
		}
	})
}

func TestRetriesOfADeadEndpointsRequestsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pair(t, registry.Settings{})
		defer s.Close()
		e := s.claim(t, registry.Want{Prefer: idA}).Endpoint()
		s.retries(t, e, 10)
		done := make(chan bool)
		go func() { ok, _ := s.service.Retry(t.Context(), e); done <- ok }()
		synctest.Wait() // it waits to see what becomes of the endpoint
		s.engine.Set("api", []registry.Member{box(idB, "10.0.0.2")})
		if !<-done {
			t.Error("its endpoint is gone, and the request may not be sent again")
		}
		if n := s.retries(t, e, 50); n != 50 {
			t.Errorf("%d of 50 allowed", n)
		}
	})
}

func TestARetryThatWaitsEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pair(t, registry.Settings{})
		defer s.Close()
		e := s.claim(t, registry.Want{Prefer: idA}).Endpoint()
		s.retries(t, e, 10)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if ok, err := s.service.Retry(ctx, e); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%t %v", ok, err)
		}
	})
}

func TestTheRetryBudgetCanBeTurnedOff(t *testing.T) {
	s := pair(t, registry.Settings{RetryBudget: -1})
	e := s.claim(t, registry.Want{Prefer: idA}).Endpoint()
	if n := s.retries(t, e, 1000); n != 1000 {
		t.Errorf("%d of 1000 allowed", n)
	}
}
