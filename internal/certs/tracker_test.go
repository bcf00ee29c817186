package certs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

func problem(kind, detail string) error {
	return fmt.Errorf("[a.example] Obtain: %w", acme.Problem{Type: acme.ProblemTypeNamespace + kind, Detail: detail, Status: 400})
}

// TestAtMostTenOrdersPerHour simulates an authority that refuses every order, with two orders in each attempt. The tracker must
// allow at most ten orders in any hour, also for an edge that restarts all the time.
func TestAtMostTenOrdersPerHour(t *testing.T) {
	for name, pause := range map[string]func(int) time.Duration{
		"certmagic schedule":             func(n int) time.Duration { return retryIntervals[min(n, len(retryIntervals)-1)] },
		"restart every second":           func(int) time.Duration { return time.Second },
		"killed during each attempt":     func(int) time.Duration { return time.Second },
		"restart every eleven minutes":   func(int) time.Duration { return 11 * time.Minute },
		"overloaded, certmagic schedule": func(n int) time.Duration { return retryIntervals[min(n, len(retryIntervals)-1)] },
		"overloaded, restart":            func(int) time.Duration { return time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracker, start := new(Tracker), time.Now()
				var orders []time.Time
				for n := 0; time.Since(start) < 5*time.Hour; n++ {
					if tracker.BeginAttempt("a.example", false) == nil {
						orders = append(orders, time.Now(), time.Now())
						switch {
						case strings.HasPrefix(name, "overloaded"): // acmez sends three requests
							orders = append(orders, time.Now())
							tracker.RecordFailure("a.example", problem("serverInternal", "no"), true, time.Time{})
						case !strings.HasPrefix(name, "killed"):
							tracker.RecordFailure("a.example", problem("unauthorized", "no"), true, time.Time{})
						}
					}
					if !strings.HasSuffix(name, "schedule") {
						next := new(Tracker)
						for _, e := range tracker.Entries() {
							next.Restore(e)
						}
						tracker = next
					}
					time.Sleep(pause(n))
				}
				for i := range orders {
					inHour := 0
					for _, o := range orders[i:] {
						if o.Sub(orders[i]) < time.Hour {
							inHour++
						}
					}
					if inHour > 10 {
						t.Fatalf("%d orders within an hour, want at most 10", inHour)
					}
				}
				if len(orders) < 20 {
					t.Errorf("%d orders in five hours, want at least 20", len(orders))
				}
				t.Logf("%d orders in five hours", len(orders))
			})
		})
	}
}

func TestEntryThroughFailuresAndSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := new(Tracker)
		if err := tracker.BeginAttempt("a.example", false); err != nil {
			t.Fatal(err)
		}
		if e := tracker.Entries()[0]; !e.AttemptRunning || !e.Managed || e.Attempted {
			t.Errorf("entry during the attempt: %+v", e)
		}
		e, isNews := tracker.RecordFailure("a.example", problem("dns", "NXDOMAIN looking up A for a.example"), true, time.Time{})
		if !isNews || e.LastFailure.Reason != DNS || e.Failures != 1 || e.AttemptRunning || e.FailureCounts[DNS] != 1 {
			t.Errorf("entry after a failure: %+v, isNews %t", e, isNews)
		}
		if next := e.NextTry(time.Now()); time.Until(next) != time.Minute {
			t.Errorf("the next attempt is in %s, want 1m", time.Until(next))
		}
		time.Sleep(time.Minute)
		if _, isNews := tracker.RecordFailure("a.example", problem("dns", "again"), true, time.Time{}); isNews {
			t.Error("the same reason is news a minute later")
		}
		time.Sleep(time.Hour)
		if _, isNews := tracker.RecordFailure("a.example", problem("dns", "still"), true, time.Time{}); !isNews {
			t.Error("the same reason is not news an hour later")
		}
		if _, isNews := tracker.RecordFailure("a.example", problem("connection", "refused"), true, time.Time{}); !isNews {
			t.Error("another reason is not news")
		}
		if failures := tracker.RecordSuccess("a.example"); failures != 4 {
			t.Errorf("%d failures before the success, want 4", failures)
		}
		got := tracker.Entries()[0]
		if got.LastFailure != nil || got.Failures != 0 || !got.NextTry(time.Now()).IsZero() || got.FailureCounts[DNS] != 3 || tracker.BeginAttempt("a.example", true) != nil {
			t.Errorf("entry after a success: %+v", got)
		}
	})
}

func TestRetryAfterOfTheAuthorityIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := new(Tracker)
		at := time.Now().UTC().Add(2 * time.Hour).Truncate(time.Second)
		e, _ := tracker.RecordFailure("a.example", problem("rateLimited", "too many certificates (5) already issued, retry after "+at.Format(time.DateTime)+" UTC: see https://ca.example"), true, time.Time{})
		if !e.NextTry(time.Now()).Equal(at) {
			t.Errorf("the next attempt is at %s, want %s", e.NextTry(time.Now()), at)
		}
		time.Sleep(time.Hour)
		var held *BackoffError
		if err := tracker.BeginAttempt("a.example", false); !errors.As(err, &held) || !held.Until.Equal(at) || !strings.Contains(err.Error(), "held back until") {
			t.Errorf("an hour later: %v, want a BackoffError", err)
		}
		if err := tracker.BeginAttempt("b.example", false); err != nil {
			t.Errorf("an attempt for another name: %v", err)
		}
		time.Sleep(time.Hour)
		if err := tracker.BeginAttempt("a.example", false); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// TestBackoffWithoutRetryAfter: the pause is an hour after a rate limit and half an hour after two errors of the authority's own.
// There is none if another authority can be asked.
func TestBackoffWithoutRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err             error
			attempts        int
			isOnlyAuthority bool
			pause           time.Duration
		}{
			{problem("rateLimited", "too many"), 1, true, time.Hour},
			{problem("rateLimited", "too many, retry after 2099-01-01 00:00:00 UTC"), 1, true, maxRetryAfter},
			{problem("rateLimited", "too many"), 1, false, 0},
			{problem("serverInternal", "no"), 1, true, 0},
			{problem("serverInternal", "no"), 2, true, 30 * time.Minute},
			{problem("serverInternal", "no"), 2, false, 0},
			{context.DeadlineExceeded, 2, true, 0}, // the authority has received no request
			{problem("dns", "no"), 2, true, 0},
		} {
			tracker := new(Tracker)
			var e Entry
			for range c.attempts {
				if err := tracker.BeginAttempt("a.example", false); err != nil {
					t.Fatal(err)
				}
				e, _ = tracker.RecordFailure("a.example", c.err, c.isOnlyAuthority, time.Time{})
			}
			until, reason := e.backoffUntil(time.Now())
			if got := max(0, time.Until(until)); got != c.pause {
				t.Errorf("%v, %d attempts, only authority %t: held back for %s (%s), want %s", c.err, c.attempts, c.isOnlyAuthority, got, reason, c.pause)
			}
		}
	})
}

func TestAttemptsOfOtherEdgesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := new(Tracker), new(Tracker)
		for n := range 5 {
			tracker := []*Tracker{one, two}[n%2]
			other := []*Tracker{two, one}[n%2]
			if e, known := other.Entry("a.example"); known {
				tracker.Restore(e)
				tracker.Restore(e) // an edge may read an entry repeatedly
			}
			if err := tracker.BeginAttempt("a.example", true); err != nil {
				t.Fatalf("attempt %d: %v", n+1, err)
			}
			tracker.RecordFailure("a.example", problem("connection", "refused"), true, time.Time{})
			time.Sleep(time.Minute)
		}
		e, _ := one.Entry("a.example")
		two.Restore(e)
		if err := two.BeginAttempt("a.example", true); err == nil {
			t.Error("the sixth attempt of two edges within an hour is allowed")
		}
	})
}

func TestCertificateOfAnotherEdgeClearsFailure(t *testing.T) {
	tracker, old := new(Tracker), time.Now().Add(24*time.Hour)
	if err := tracker.BeginAttempt("a.example", true); err != nil {
		t.Fatal(err)
	}
	tracker.RecordFailure("a.example", problem("connection", "refused"), true, old)
	tracker.RecordLoaded("a.example", true)
	tracker.RecordServed("a.example", old)
	e, _ := tracker.Entry("a.example")
	if e.LastFailure == nil {
		t.Error("the old certificate clears the failure")
	}
	restarted := new(Tracker)
	restarted.Restore(e)
	restarted.RecordLoaded("a.example", true)
	for _, tracker := range []*Tracker{tracker, restarted} {
		tracker.RecordServed("a.example", old)
		if e, _ := tracker.Entry("a.example"); e.LastFailure == nil {
			t.Errorf("the old certificate clears the failure; restarted: %t", tracker == restarted)
		}
		tracker.RecordServed("a.example", old.Add(time.Hour))
		if e, _ := tracker.Entry("a.example"); e.LastFailure != nil || e.Failures != 0 || len(e.Attempts) != 0 || !e.Attempted {
			t.Errorf("entry after a new certificate: %+v; restarted: %t", e, tracker == restarted)
		}
	}
	tracker.RecordServed("nobody.example", old) // must not create an entry
	if _, known := tracker.Entry("nobody.example"); known {
		t.Error("RecordServed creates an entry")
	}
}

func TestPermanentFailureIsNotRetried(t *testing.T) {
	tracker := new(Tracker)
	e, _ := tracker.RecordFailure("a.example", certmagic.ErrNoRetry{Err: problem("caa", "no")}, true, time.Time{})
	if !e.NextTry(time.Now()).IsZero() || !strings.Contains(e.LastFailure.Hint, "reload the configuration") || e.LastFailure.Reason != CAA {
		t.Errorf("%+v", e)
	}
	if err := tracker.BeginAttempt("a.example", false); err != nil {
		t.Fatal(err)
	}
	if e, _ := tracker.RecordFailure("a.example", problem("caa", "no"), true, time.Time{}); e.NextTry(time.Now()).IsZero() {
		t.Error("no retry after a failure that is not permanent")
	}
}

func TestTrackerIsBounded(t *testing.T) {
	tracker := new(Tracker)
	for i := range maxNames + 10 {
		tracker.RecordLoaded(fmt.Sprint(i), true)
	}
	if n := len(tracker.Entries()); n != maxNames {
		t.Errorf("%d names, want %d", n, maxNames)
	}
	if e, isNews := tracker.RecordFailure("one.more", errors.New("x"), true, time.Time{}); !isNews || e.LastFailure == nil {
		t.Error("RecordFailure without room does not return the failure")
	}
	if tracker.BeginAttempt("one.more", false) != nil || tracker.RecordSuccess("one.more") != 0 {
		t.Error("a name without room is held back")
	}
}
