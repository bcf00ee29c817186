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

// TestNoStorm plays certmagic's schedule against an authority that refuses everything, with two orders an attempt: at most
// ten in the first hour, also for an edge that is restarted all the time.
func TestNoStorm(t *testing.T) {
	for what, pause := range map[string]func(int) time.Duration{
		"by certmagic's schedule":        func(n int) time.Duration { return pauses[min(n, len(pauses)-1)] },
		"restarted every second":         func(int) time.Duration { return time.Second },
		"killed in each attempt":         func(int) time.Duration { return time.Second },
		"restarted every eleven minutes": func(int) time.Duration { return 11 * time.Minute },
		"overloaded, by its schedule":    func(n int) time.Duration { return pauses[min(n, len(pauses)-1)] },
		"overloaded, and restarted":      func(int) time.Duration { return time.Second },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, began := new(Book), time.Now()
				var orders []time.Time
				for n := 0; time.Since(began) < 5*time.Hour; n++ {
					if b.Begin("a.example", false) == nil {
						orders = append(orders, time.Now(), time.Now())
						switch {
						case strings.HasPrefix(what, "overloaded"): // acmez asks three times
							orders = append(orders, time.Now())
							b.Failed("a.example", problem("serverInternal", "no"), true, time.Time{})
						case !strings.HasPrefix(what, "killed"):
							b.Failed("a.example", problem("unauthorized", "no"), true, time.Time{})
						}
					}
					if !strings.HasSuffix(what, "schedule") {
						next := new(Book)
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

func TestWhatIsKnownOfANameThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(Book)
		if err := b.Begin("a.example", false); err != nil {
			t.Fatal(err)
		}
		if e := b.Entries()[0]; !e.Trying || !e.Managed || e.Tried {
			t.Errorf("while it is tried: %+v", e)
		}
		e, news := b.Failed("a.example", problem("dns", "NXDOMAIN looking up A for a.example"), true, time.Time{})
		if !news || e.Last.Reason != DNS || e.Tries != 1 || e.Trying || e.Counts[DNS] != 1 {
			t.Errorf("after a failure: %+v, news: %t", e, news)
		}
		if next := e.NextTry(time.Now()); time.Until(next) != time.Minute {
			t.Errorf("the next try is in %s, want a minute", time.Until(next))
		}
		time.Sleep(time.Minute)
		if _, news := b.Failed("a.example", problem("dns", "again"), true, time.Time{}); news {
			t.Error("the same reason a minute later is news")
		}
		time.Sleep(time.Hour)
		if _, news := b.Failed("a.example", problem("dns", "still"), true, time.Time{}); !news {
			t.Error("the same reason an hour later is no news")
		}
		if _, news := b.Failed("a.example", problem("connection", "refused"), true, time.Time{}); !news {
			t.Error("another reason is no news")
		}
		if failed := b.Obtained("a.example"); failed != 4 {
			t.Errorf("%d attempts had failed, want 4", failed)
		}
		got := b.Entries()[0]
		if got.Last != nil || got.Tries != 0 || !got.NextTry(time.Now()).IsZero() || got.Counts[DNS] != 3 || b.Begin("a.example", true) != nil {
			t.Errorf("after a success: %+v", got)
		}
	})
}

func TestTheAuthoritysPauseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(Book)
		at := time.Now().UTC().Add(2 * time.Hour).Truncate(time.Second)
		e, _ := b.Failed("a.example", problem("rateLimited", "too many certificates (5) already issued, retry after "+at.Format(time.DateTime)+" UTC: see https://ca.example"), true, time.Time{})
		if !e.NextTry(time.Now()).Equal(at) {
			t.Errorf("the next try is at %s, want %s", e.NextTry(time.Now()), at)
		}
		time.Sleep(time.Hour)
		var held *HeldBackError
		if err := b.Begin("a.example", false); !errors.As(err, &held) || !held.Until.Equal(at) || !strings.Contains(err.Error(), "held back until") {
			t.Errorf("an hour later it is tried: %v", err)
		}
		if err := b.Begin("b.example", false); err != nil {
			t.Errorf("another name is held back with it: %v", err)
		}
		time.Sleep(time.Hour)
		if err := b.Begin("a.example", false); err != nil {
			t.Errorf("two hours later: %v", err)
		}
	})
}

// TestAnAuthorityThatDoesNotSayWhenIsLeftAlone, for an hour if it has been asked too often, and for half an hour if it has been
// out of order twice; but not if there is another one that can be asked.
func TestAnAuthorityThatDoesNotSayWhenIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err   error
			tries int
			alone bool
			pause time.Duration
		}{
			{problem("rateLimited", "too many"), 1, true, time.Hour},
			{problem("rateLimited", "too many, retry after 2099-01-01 00:00:00 UTC"), 1, true, longestPause},
			{problem("rateLimited", "too many"), 1, false, 0},
			{problem("serverInternal", "no"), 1, true, 0},
			{problem("serverInternal", "no"), 2, true, 30 * time.Minute},
			{problem("serverInternal", "no"), 2, false, 0},
			{context.DeadlineExceeded, 2, true, 0}, // which sends it nothing
			{problem("dns", "no"), 2, true, 0},
		} {
			b := new(Book)
			var e Entry
			for range c.tries {
				if err := b.Begin("a.example", false); err != nil {
					t.Fatal(err)
				}
				e, _ = b.Failed("a.example", c.err, c.alone, time.Time{})
			}
			until, why := e.heldUntil(time.Now())
			if got := max(0, time.Until(until)); got != c.pause {
				t.Errorf("%v, %d times, alone %t: held back for %s (%s), want %s", c.err, c.tries, c.alone, got, why, c.pause)
			}
		}
	})
}

func TestWhatOtherEdgesTriedCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := new(Book), new(Book)
		for n := range 5 {
			b := []*Book{one, two}[n%2]
			other := []*Book{two, one}[n%2]
			if e, known := other.Entry("a.example"); known {
				b.Restore(e)
				b.Restore(e) // as often as it is read
			}
			if err := b.Begin("a.example", true); err != nil {
				t.Fatalf("attempt %d: %v", n+1, err)
			}
			b.Failed("a.example", problem("connection", "refused"), true, time.Time{})
			time.Sleep(time.Minute)
		}
		e, _ := one.Entry("a.example")
		two.Restore(e)
		if err := two.Begin("a.example", true); err == nil {
			t.Error("five attempts of two edges, and the sixth is made")
		}
	})
}

func TestACertificateThatAnotherEdgeObtainedEndsTheFailure(t *testing.T) {
	b, old := new(Book), time.Now().Add(24*time.Hour)
	if err := b.Begin("a.example", true); err != nil {
		t.Fatal(err)
	}
	b.Failed("a.example", problem("connection", "refused"), true, old)
	b.Loaded("a.example", true)
	b.Serves("a.example", old)
	e, _ := b.Entry("a.example")
	if e.Last == nil {
		t.Error("the certificate that was to be renewed ends the failure")
	}
	restarted := new(Book)
	restarted.Restore(e)
	restarted.Loaded("a.example", true)
	for _, b := range []*Book{b, restarted} {
		b.Serves("a.example", old)
		if e, _ := b.Entry("a.example"); e.Last == nil {
			t.Error("it does after a restart")
		}
		b.Serves("a.example", old.Add(time.Hour))
		if e, _ := b.Entry("a.example"); e.Last != nil || e.Tries != 0 || len(e.Attempts) != 0 || !e.Tried {
			t.Errorf("a new one doesn't: %+v", e)
		}
	}
	b.Serves("nobody.example", old) // which makes no entry
	if _, known := b.Entry("nobody.example"); known {
		t.Error("a name that nobody has heard of is known")
	}
}

func TestWhatIsNotTriedAgainSaysSo(t *testing.T) {
	b := new(Book)
	e, _ := b.Failed("a.example", certmagic.ErrNoRetry{Err: problem("caa", "no")}, true, time.Time{})
	if !e.NextTry(time.Now()).IsZero() || !strings.Contains(e.Last.Hint, "reload the configuration") || e.Last.Reason != CAA {
		t.Errorf("%+v", e)
	}
	if err := b.Begin("a.example", false); err != nil {
		t.Fatal(err)
	}
	if e, _ := b.Failed("a.example", problem("caa", "no"), true, time.Time{}); e.NextTry(time.Now()).IsZero() {
		t.Error("an attempt later it still is not tried again")
	}
}

func TestABookIsBounded(t *testing.T) {
	b := new(Book)
	for i := range mostNames + 10 {
		b.Loaded(fmt.Sprint(i), true)
	}
	if n := len(b.Entries()); n != mostNames {
		t.Errorf("%d names, want %d", n, mostNames)
	}
	if e, news := b.Failed("one.more", errors.New("x"), true, time.Time{}); !news || e.Last == nil {
		t.Error("a failure that finds no room is lost")
	}
	if b.Begin("one.more", false) != nil || b.Obtained("one.more") != 0 {
		t.Error("a name that finds no room is held back")
	}
}

// TestFailuresInWords: a shopkeeper must be able to do something about it.
func TestFailuresInWords(t *testing.T) {
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
		f := explain("a.example", c.err)
		if f.Reason != c.reason || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%v: %+v, want %s, %q and %q", c.err, f, c.reason, c.message, c.hint)
		}
	}
	withSub := acme.Problem{Type: acme.ProblemTypeNamespace + "rejectedIdentifier", Detail: "two problems"}
	withSub.Subproblems = []acme.Subproblem{{Problem: acme.Problem{Detail: "the first"}}}
	if f := explain("a.example", withSub); f.Detail != "two problems; the first" {
		t.Errorf("the detail is %q", f.Detail)
	}
}

// FuzzExplain: what an authority says can be anything.
func FuzzExplain(f *testing.F) {
	f.Add("urn:ietf:params:acme:error:rateLimited", "retry after 2026-11-24 08:15:00 UTC", 429)
	f.Add("", "retry after 9999-99-99 99:99:99", 0)
	f.Fuzz(func(t *testing.T, kind, detail string, status int) {
		got := explain("a.example", acme.Problem{Type: kind, Detail: detail, Status: status})
		if got.Message == "" || got.Hint == "" || got.Reason == "" || time.Until(got.RetryAfter) > longestPause {
			t.Errorf("%+v", got)
		}
	})
}
