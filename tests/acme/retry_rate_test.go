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

// The limits that internal/certs adds to certmagic's schedule: failed attempts within an hour, the pause after two attempts that the
// authority answered with a server error, and the pause after one that it answered with rateLimited.
const (
	maxFailures      = 5
	serverErrorPause = 30 * time.Minute
	rateLimitPause   = time.Hour
)

// TestRetriesStayBelowRateLimits counts the orders of two attempts at an authority that never issues, and computes from them the
// orders of the first hour.
func TestRetriesStayBelowRateLimits(t *testing.T) {
	t.Parallel()
	outOfOrder := lab.Fault{Status: http.StatusInternalServerError, Type: "serverInternal", Detail: "out of order"}
	tooMany := lab.Fault{Status: http.StatusTooManyRequests, Type: "rateLimited", Detail: "too many", RetryAfter: time.Hour}
	for _, c := range []struct {
		name   string
		breaks func(s *stack, site string)
		orders [2]int        // newOrder requests in the first attempt, and in what certmagic counts as the second
		after  int           // attempts before the pause
		pause  time.Duration // its length
	}{
		// The authority rejects one kind of challenge, which ends the order, and then the other kind.
		{"validation", func(s *stack, site string) { s.ca.Resolve(s.t, site, "127.0.0.9") }, [2]int{2, 2}, maxFailures, time.Hour},
		{"finalizing", failRequests("/finalize-order/", outOfOrder), [2]int{1, 1}, 2, serverErrorPause},
		// acmez sends the request three times, 250 ms apart. The authority makes no order.
		{"order", failRequests("/order-plz", outOfOrder), [2]int{3, 3}, 2, serverErrorPause},
		// In the second attempt the edge sends nothing.
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
			if got, want := s.retryWaits(crm), retryIntervals(t)[:2]; !slices.Equal(got, want) {
				t.Errorf("the edge waits %v, want %v as in certmagic's source", got, want)
			}
			planned := allowedAttempts(certmagicAttempts(t), c.after, c.pause)
			hour := max(first, second) * len(planned)
			if hour > 10 {
				t.Errorf("%d orders in the first hour, want at most 10", hour)
			}
			s.logCase(began, fmt.Sprintf("two attempts failed; attempts at %v, with %d orders each, make %d orders in the first hour", planned, max(first, second), hour))
		})
	}
}

// allowedAttempts returns which of the planned attempts of the first hour the edge makes, if it pauses after each one from the
// after-th on, and makes at most maxFailures.
func allowedAttempts(planned []time.Duration, after int, pause time.Duration) (all []time.Duration) {
	for _, at := range planned {
		if n := len(all); n < maxFailures && (n < after || at-all[n-1] >= pause) {
			all = append(all, at)
		}
	}
	return all
}

// failRequests makes all requests below a path fail.
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

// waitForFailures waits until n attempts for a name have failed, and returns the number of orders until then.
func (s *stack) waitForFailures(name string, n int) int {
	s.t.Helper()
	harness.EventuallyWithin(s.t, retryTimeout+20*time.Second, fmt.Sprintf("attempt %d for %s has failed", n, name), func() bool {
		return len(s.retryWaits(name)) >= n
	})
	return len(s.ca.Orders(name))
}

// retryWaits returns the waiting time that the edge logs after each failed attempt for a name.
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
