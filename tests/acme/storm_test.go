package acme

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/acme/lab"
)

// inVain is how many attempts the edge makes in an hour, whatever certmagic's schedule says: internal/certs.
const inVain = 5

// TestNoStorm: what an attempt sends to an authority that never issues is counted, twice, and multiplied by the attempts
// of the first hour.
func TestNoStorm(t *testing.T) {
	outOfOrder := lab.Fault{Status: http.StatusInternalServerError, Type: "serverInternal", Detail: "out of order"}
	tooMany := lab.Fault{Status: http.StatusTooManyRequests, Type: "rateLimited", Detail: "too many", RetryAfter: time.Hour}
	for _, c := range []struct {
		name   string
		breaks func(s *stack, site string)
		each   int // requests for an order in each attempt
		most   int // of them in the first hour
	}{
		// The authority rejects one challenge, which ends the order, and then the other one.
		{"validation", func(s *stack, site string) { s.ca.Resolve(s.t, site, "127.0.0.9") }, 2, 10},
		{"finalizing", refusing("/finalize-order/", outOfOrder), 1, 10},
		// acmez sends it again, twice, 250 ms apart. No order comes of it.
		{"order", refusing("/order-plz", outOfOrder), 3, 15},
		{"rate", refusing("/order-plz", tooMany), 1, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
			crm := s.sites()[1]
			began := time.Now()
			s.ca.During(func() {
				s.start()
				c.breaks(s, crm)
			})
			first := s.waitForFailures(crm, 1)
			second := s.waitForFailures(crm, 2) - first
			if first != c.each || second != c.each {
				t.Errorf("%d and %d orders in two attempts, want %d in each", first, second, c.each)
			}
			if said, want := s.retries(crm), retryIntervals(t)[:2]; !slices.Equal(said, want) {
				t.Errorf("the edge waits %v, and certmagic's source says %v", said, want)
			}
			planned := attempts(t)
			planned = planned[:min(len(planned), inVain)]
			hour := max(first, second) * len(planned)
			if hour > c.most {
				t.Errorf("%d orders in the first hour, want at most %d", hour, c.most)
			}
			s.report(began, fmt.Sprintf("two attempts failed; %v after the first one, %d orders each, are %d in the first hour", planned, c.each, hour))
		})
	}
}

// refusing has all requests below a path fail.
func refusing(path string, fault lab.Fault) func(*stack, string) {
	return func(s *stack, _ string) {
		s.ca.Fail(func(r *http.Request) *lab.Fault {
			if strings.HasPrefix(r.URL.Path, path) {
				return &fault
			}
			return nil
		})
	}
}

// waitForFailures waits until n attempts for a name have failed, and returns how many orders there were.
func (s *stack) waitForFailures(name string, n int) int {
	s.t.Helper()
	for deadline := time.Now().Add(retry + 20*time.Second); len(s.retries(name)) < n; time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("attempt %d for %s has not failed", n, name)
		}
	}
	return len(s.ca.Orders(name))
}

// retries returns how long the edge said that it would wait after each failed attempt for a name.
func (s *stack) retries(name string) (waits []time.Duration) {
	s.t.Helper()
	for line := range strings.Lines(s.must("logs", "--no-log-prefix", "edge")) {
		var entry struct {
			Msg   string
			Error string
			In    float64 `json:"retrying_in"` // seconds
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "will retry" && strings.Contains(entry.Error, name) {
			waits = append(waits, time.Duration(entry.In*float64(time.Second)))
		}
	}
	return waits
}
