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
	"github.com/theworklabs/edge/tests/harness"
)

// What internal/certs makes of certmagic's schedule: so many attempts in vain within an hour; after two that an authority
// answered with being out of order, and after one that it answered with having been asked too often, a pause.
const (
	maxFailures      = 5
	serverErrorPause = 30 * time.Minute
	rateLimitPause   = time.Hour
)

// TestRetriesStayBelowRateLimits: what an attempt sends to an authority that never issues is counted, twice, and multiplied by the attempts
// of the first hour.
func TestRetriesStayBelowRateLimits(t *testing.T) {
	outOfOrder := lab.Fault{Status: http.StatusInternalServerError, Type: "serverInternal", Detail: "out of order"}
	tooMany := lab.Fault{Status: http.StatusTooManyRequests, Type: "rateLimited", Detail: "too many", RetryAfter: time.Hour}
	for _, c := range []struct {
		name   string
		breaks func(s *stack, site string)
		orders [2]int        // requests for an order in the first attempt, and in what certmagic takes for the second
		after  int           // how many attempts are made before there is a pause
		pause  time.Duration // for how long
	}{
		// The authority rejects one challenge, which ends the order, and then the other one.
		{"validation", func(s *stack, site string) { s.ca.Resolve(s.t, site, "127.0.0.9") }, [2]int{2, 2}, maxFailures, time.Hour},
		{"finalizing", failRequests("/finalize-order/", outOfOrder), [2]int{1, 1}, 2, serverErrorPause},
		// acmez sends it again, twice, 250 ms apart. No order comes of it.
		{"order", failRequests("/order-plz", outOfOrder), [2]int{3, 3}, 2, serverErrorPause},
		// The second time, nothing is sent.
		{"rate", failRequests("/order-plz", tooMany), [2]int{1, 0}, 1, rateLimitPause},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
			crm := s.sites()[1]
			began := time.Now()
			s.ca.HoldRequestsDuring(func() {
				s.start()
				c.breaks(s, crm)
			})
			first := s.waitForFailures(crm, 1)
			second := s.waitForFailures(crm, 2) - first
			if got := [2]int{first, second}; got != c.orders {
				t.Errorf("%d orders in two attempts, want %d", got, c.orders)
			}
			if said, want := s.retryWaits(crm), retryIntervals(t)[:2]; !slices.Equal(said, want) {
				t.Errorf("the edge waits %v, and certmagic's source says %v", said, want)
			}
			planned := allowedAttempts(certmagicAttempts(t), c.after, c.pause)
			hour := max(first, second) * len(planned)
			if hour > 10 {
				t.Errorf("%d orders in the first hour, want at most 10", hour)
			}
			s.logCase(began, fmt.Sprintf("two attempts failed; %v after the first one, %d orders each, are %d in the first hour", planned, max(first, second), hour))
		})
	}
}

// allowedAttempts returns which of the attempts of the first hour are made, if there is a pause after each one from so many on, and never
// more than five.
func allowedAttempts(planned []time.Duration, after int, pause time.Duration) (all []time.Duration) {
	for _, at := range planned {
		if n := len(all); n < maxFailures && (n < after || at-all[n-1] >= pause) {
			all = append(all, at)
		}
	}
	return all
}

// failRequests has all requests below a path fail.
func failRequests(path string, fault lab.Fault) func(*stack, string) {
	return func(s *stack, _ string) {
		s.ca.SetFault(func(r *http.Request) *lab.Fault {
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
	harness.EventuallyWithin(s.t, retryTimeout+20*time.Second, fmt.Sprintf("attempt %d for %s has failed", n, name), func() bool {
		return len(s.retryWaits(name)) >= n
	})
	return len(s.ca.Orders(name))
}

// retryWaits returns how long the edge said that it would wait after each failed attempt for a name.
func (s *stack) retryWaits(name string) (waits []time.Duration) {
	s.t.Helper()
	for line := range strings.Lines(s.mustCompose("logs", "--no-log-prefix", "edge")) {
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
