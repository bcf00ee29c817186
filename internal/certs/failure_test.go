package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// TestFailureMessagesAndHints: an operator who does not know ACME must be able to act on them.
func TestFailureMessagesAndHints(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, c := range []struct {
		err           error
		reason        Reason
		message, hint string
	}{
		{problem("rateLimited", "too many"), RateLimited, "too many requests", "wait"},
		{problem("dns", "NXDOMAIN"), DNS, "no address for a.example", "A record"},
		{problem("connection", "Timeout"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("tls", "remote error"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("unauthorized", "Invalid response"), Unauthorized, "another server answers", "this host and no other"},
		{problem("unauthorized", "Failed to connect to 127.0.0.9:443"), Connection, "can't connect to a.example", "ports 80 and 443"},
		{problem("incorrectResponse", "x"), Unauthorized, "another server answers", "this host and no other"},
		{problem("caa", "CAA record forbids"), CAA, "CAA records", "add a CAA record"},
		{problem("rejectedIdentifier", "policy forbids"), Rejected, "issues no certificates for a.example", "DOMAIN"},
		{problem("invalidContact", "x"), Account, "account", "ACME_EMAIL"},
		{problem("serverInternal", "x"), Authority, "an error of its own", "by itself"},
		{problem("badCSR", "x"), Other, "refuses the request: badCSR", "detail"},
		{acme.Problem{Type: "about:blank", Status: 503}, Authority, "an error of its own", "wait"},
		{fmt.Errorf("dial: %w", refused), Authority, "can't be reached", "port 443"},
		{context.DeadlineExceeded, Authority, "can't be reached", "port 443"},
		{&net.DNSError{Name: "ca.example", Err: "no such host"}, Authority, "ca.example can't be resolved", "DNS"},
		{fmt.Errorf("get: %w", x509.UnknownAuthorityError{}), Authority, "untrusted authority", "ACME_CA_ROOT"},
		{errors.New("disk full"), Other, "could not be obtained", "log"},
	} {
		f := newFailure("a.example", c.err)
		if f.Reason != c.reason || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%v: %+v, want %s, %q and %q", c.err, f, c.reason, c.message, c.hint)
		}
	}
	withSub := acme.Problem{Type: acme.ProblemTypeNamespace + "rejectedIdentifier", Detail: "two problems"}
	withSub.Subproblems = []acme.Subproblem{{Problem: acme.Problem{Detail: "the first"}}}
	if f := newFailure("a.example", withSub); f.Detail != "two problems; the first" {
		t.Errorf("detail %q, want both problems", f.Detail)
	}
}

// FuzzFailureOfACMEProblem: an authority may report any problem.
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
