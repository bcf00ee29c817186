package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
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

// TestAtMostTenOrdersPerHour plays certmagic's schedule against an authority that refuses everything, with two orders an attempt: at most
// ten in the first hour, also for an edge that is restarted all the time.
func TestAtMostTenOrdersPerHour(t *testing.T) {
	for what, pause := range map[string]func(int) time.Duration{
		"by certmagic's schedule":        func(n int) time.Duration { return retryIntervals[min(n, len(retryIntervals)-1)] },
		"restarted every second":         func(int) time.Duration { return time.Second },
		"killed in each attempt":         func(int) time.Duration { return time.Second },
		"restarted every eleven minutes": func(int) time.Duration { return 11 * time.Minute },
		"overloaded, by its schedule":    func(n int) time.Duration { return retryIntervals[min(n, len(retryIntervals)-1)] },
		"overloaded, and restarted":      func(int) time.Duration { return time.Second },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, began := new(Tracker), time.Now()
				var orders []time.Time
				for n := 0; time.Since(began) < 5*time.Hour; n++ {
					if b.BeginAttempt("a.example", false) == nil {
						orders = append(orders, time.Now(), time.Now())
						switch {
						case strings.HasPrefix(what, "overloaded"): // acmez asks three times
							orders = append(orders, time.Now())
							b.RecordFailure("a.example", problem("serverInternal", "no"), true, time.Time{})
						case !strings.HasPrefix(what, "killed"):
							b.RecordFailure("a.example", problem("unauthorized", "no"), true, time.Time{})
						}
					}
					if !strings.HasSuffix(what, "schedule") {
						next := new(Tracker)
						for _, e := range b.Entries() {
							next.Restore(e)
						}
						b = next
					}
					time.Sleep(pause(n))
				}
				for i := range orders {
					within := 0
					for _, o := range orders[i:] {
						if o.Sub(orders[i]) < time.Hour {
							within++
						}
					}
					if within > 10 {
						t.Fatalf("%d orders within an hour", within)
					}
				}
				if len(orders) < 20 {
					t.Errorf("only %d orders in five hours: it gives up", len(orders))
				}
				t.Logf("%s: %d orders in five hours", what, len(orders))
			})
		})
	}
}

func TestEntryThroughFailuresAndSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(Tracker)
		if err := b.BeginAttempt("a.example", false); err != nil {
			t.Fatal(err)
		}
		if e := b.Entries()[0]; !e.Trying || !e.Managed || e.Tried {
			t.Errorf("while it is tried: %+v", e)
		}
		e, news := b.RecordFailure("a.example", problem("dns", "NXDOMAIN looking up A for a.example"), true, time.Time{})
		if !news || e.Last.Reason != DNS || e.Tries != 1 || e.Trying || e.Counts[DNS] != 1 {
			t.Errorf("after a failure: %+v, news: %t", e, news)
		}
		if next := e.NextTry(time.Now()); time.Until(next) != time.Minute {
			t.Errorf("the next try is in %s, want a minute", time.Until(next))
		}
		time.Sleep(time.Minute)
		if _, news := b.RecordFailure("a.example", problem("dns", "again"), true, time.Time{}); news {
			t.Error("the same reason a minute later is news")
		}
		time.Sleep(time.Hour)
		if _, news := b.RecordFailure("a.example", problem("dns", "still"), true, time.Time{}); !news {
			t.Error("the same reason an hour later is no news")
		}
		if _, news := b.RecordFailure("a.example", problem("connection", "refused"), true, time.Time{}); !news {
			t.Error("another reason is no news")
		}
		if failed := b.RecordSuccess("a.example"); failed != 4 {
			t.Errorf("%d attempts had failed, want 4", failed)
		}
		got := b.Entries()[0]
		if got.Last != nil || got.Tries != 0 || !got.NextTry(time.Now()).IsZero() || got.Counts[DNS] != 3 || b.BeginAttempt("a.example", true) != nil {
			t.Errorf("after a success: %+v", got)
		}
	})
}

func TestRetryAfterOfTheAuthorityIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(Tracker)
		at := time.Now().UTC().Add(2 * time.Hour).Truncate(time.Second)
		e, _ := b.RecordFailure("a.example", problem("rateLimited", "too many certificates (5) already issued, retry after "+at.Format(time.DateTime)+" UTC: see https://ca.example"), true, time.Time{})
		if !e.NextTry(time.Now()).Equal(at) {
			t.Errorf("the next try is at %s, want %s", e.NextTry(time.Now()), at)
		}
		time.Sleep(time.Hour)
		var held *BackoffError
		if err := b.BeginAttempt("a.example", false); !errors.As(err, &held) || !held.Until.Equal(at) || !strings.Contains(err.Error(), "held back until") {
			t.Errorf("an hour later it is tried: %v", err)
		}
		if err := b.BeginAttempt("b.example", false); err != nil {
			t.Errorf("another name is held back with it: %v", err)
		}
		time.Sleep(time.Hour)
		if err := b.BeginAttempt("a.example", false); err != nil {
			t.Errorf("two hours later: %v", err)
		}
	})
}

// TestBackoffWithoutRetryAfter, for an hour if it has been asked too often, and for half an hour if it has been
// out of order twice; but not if there is another one that can be asked.
func TestBackoffWithoutRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err   error
			tries int
			alone bool
			pause time.Duration
		}{
			{problem("rateLimited", "too many"), 1, true, time.Hour},
			{problem("rateLimited", "too many, retry after 2099-01-01 00:00:00 UTC"), 1, true, maxRetryAfter},
			{problem("rateLimited", "too many"), 1, false, 0},
			{problem("serverInternal", "no"), 1, true, 0},
			{problem("serverInternal", "no"), 2, true, 30 * time.Minute},
			{problem("serverInternal", "no"), 2, false, 0},
			{context.DeadlineExceeded, 2, true, 0}, // which sends it nothing
			{problem("dns", "no"), 2, true, 0},
		} {
			b := new(Tracker)
			var e Entry
			for range c.tries {
				if err := b.BeginAttempt("a.example", false); err != nil {
					t.Fatal(err)
				}
				e, _ = b.RecordFailure("a.example", c.err, c.alone, time.Time{})
			}
			until, why := e.backoffUntil(time.Now())
			if got := max(0, time.Until(until)); got != c.pause {
				t.Errorf("%v, %d times, alone %t: held back for %s (%s), want %s", c.err, c.tries, c.alone, got, why, c.pause)
			}
		}
	})
}

func TestAttemptsOfOtherEdgesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := new(Tracker), new(Tracker)
		for n := range 5 {
			b := []*Tracker{one, two}[n%2]
			other := []*Tracker{two, one}[n%2]
			if e, known := other.Entry("a.example"); known {
				b.Restore(e)
				b.Restore(e) // as often as it is read
			}
			if err := b.BeginAttempt("a.example", true); err != nil {
				t.Fatalf("attempt %d: %v", n+1, err)
			}
			b.RecordFailure("a.example", problem("connection", "refused"), true, time.Time{})
			time.Sleep(time.Minute)
		}
		e, _ := one.Entry("a.example")
		two.Restore(e)
		if err := two.BeginAttempt("a.example", true); err == nil {
			t.Error("five attempts of two edges, and the sixth is made")
		}
	})
}

func TestCertificateOfAnotherEdgeClearsFailure(t *testing.T) {
	b, old := new(Tracker), time.Now().Add(24*time.Hour)
	if err := b.BeginAttempt("a.example", true); err != nil {
		t.Fatal(err)
	}
	b.RecordFailure("a.example", problem("connection", "refused"), true, old)
	b.RecordLoaded("a.example", true)
	b.RecordServed("a.example", old)
	e, _ := b.Entry("a.example")
	if e.Last == nil {
		t.Error("the certificate that was to be renewed ends the failure")
	}
	restarted := new(Tracker)
	restarted.Restore(e)
	restarted.RecordLoaded("a.example", true)
	for _, b := range []*Tracker{b, restarted} {
		b.RecordServed("a.example", old)
		if e, _ := b.Entry("a.example"); e.Last == nil {
			t.Error("it does after a restart")
		}
		b.RecordServed("a.example", old.Add(time.Hour))
		if e, _ := b.Entry("a.example"); e.Last != nil || e.Tries != 0 || len(e.Attempts) != 0 || !e.Tried {
			t.Errorf("a new one doesn't: %+v", e)
		}
	}
	b.RecordServed("nobody.example", old) // which makes no entry
	if _, known := b.Entry("nobody.example"); known {
		t.Error("a name that nobody has heard of is known")
	}
}

func TestPermanentFailureIsNotRetried(t *testing.T) {
	b := new(Tracker)
	e, _ := b.RecordFailure("a.example", certmagic.ErrNoRetry{Err: problem("caa", "no")}, true, time.Time{})
	if !e.NextTry(time.Now()).IsZero() || !strings.Contains(e.Last.Hint, "reload the configuration") || e.Last.Reason != CAA {
		t.Errorf("%+v", e)
	}
	if err := b.BeginAttempt("a.example", false); err != nil {
		t.Fatal(err)
	}
	if e, _ := b.RecordFailure("a.example", problem("caa", "no"), true, time.Time{}); e.NextTry(time.Now()).IsZero() {
		t.Error("an attempt later it still is not tried again")
	}
}

func TestTrackerIsBounded(t *testing.T) {
	b := new(Tracker)
	for i := range maxNames + 10 {
		b.RecordLoaded(fmt.Sprint(i), true)
	}
	if n := len(b.Entries()); n != maxNames {
		t.Errorf("%d names, want %d", n, maxNames)
	}
	if e, news := b.RecordFailure("one.more", errors.New("x"), true, time.Time{}); !news || e.Last == nil {
		t.Error("a failure that finds no room is lost")
	}
	if b.BeginAttempt("one.more", false) != nil || b.RecordSuccess("one.more") != 0 {
		t.Error("a name that finds no room is held back")
	}
}

// TestFailureMessagesAndHints: a shopkeeper must be able to do something about it.
func TestFailureMessagesAndHints(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, c := range []struct {
		err           error
		reason        Reason
		message, hint string
	}{
		{problem("rateLimited", "too many"), RateLimited, "asked too often", "wait"},
		{problem("dns", "NXDOMAIN"), DNS, "a.example leads nowhere", "A record"},
		{problem("connection", "Timeout"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("tls", "remote error"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("unauthorized", "Invalid response"), Unauthorized, "somebody else answers", "this host and no other"},
		{problem("unauthorized", "Failed to connect to 127.0.0.9:443"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("incorrectResponse", "x"), Unauthorized, "somebody else answers", "this host and no other"},
		{problem("caa", "CAA record forbids"), CAA, "CAA records", "add one"},
		{problem("rejectedIdentifier", "policy forbids"), Rejected, "no certificates for a.example", "DOMAIN"},
		{problem("invalidContact", "x"), Account, "account", "ACME_EMAIL"},
		{problem("serverInternal", "x"), Authority, "out of order", "by itself"},
		{problem("badCSR", "x"), Other, "refuses: badCSR", "detail"},
		{acme.Problem{Type: "about:blank", Status: 503}, Authority, "out of order", "wait"},
		{fmt.Errorf("dial: %w", refused), Authority, "can't be reached", "port 443"},
		{context.DeadlineExceeded, Authority, "can't be reached", "port 443"},
		{&net.DNSError{Name: "ca.example", Err: "no such host"}, Authority, "ca.example can't be resolved", "DNS"},
		{fmt.Errorf("get: %w", x509.UnknownAuthorityError{}), Authority, "nobody who is trusted", "ACME_CA_ROOT"},
		{errors.New("disk full"), Other, "could not be had", "log"},
	} {
		f := newFailure("a.example", c.err)
		if f.Reason != c.reason || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%v: %+v, want %s, %q and %q", c.err, f, c.reason, c.message, c.hint)
		}
	}
	withSub := acme.Problem{Type: acme.ProblemTypeNamespace + "rejectedIdentifier", Detail: "two problems"}
	withSub.Subproblems = []acme.Subproblem{{Problem: acme.Problem{Detail: "the first"}}}
	if f := newFailure("a.example", withSub); f.Detail != "two problems; the first" {
		t.Errorf("the detail is %q", f.Detail)
	}
}

// FuzzFailureOfACMEProblem: what an authority says can be anything.
func FuzzFailureOfACMEProblem(f *testing.F) {
	f.Add("urn:ietf:params:acme:error:rateLimited", "retry after 2026-11-24 08:15:00 UTC", 429)
	f.Add("", "retry after 9999-99-99 99:99:99", 0)
	f.Fuzz(func(t *testing.T, kind, detail string, status int) {
		got := newFailure("a.example", acme.Problem{Type: kind, Detail: detail, Status: status})
		if got.Message == "" || got.Hint == "" || got.Reason == "" || time.Until(got.RetryAfter) > maxRetryAfter {
			t.Errorf("%+v", got)
		}
	})
}
