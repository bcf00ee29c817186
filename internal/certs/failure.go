package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// Reason is one of a few kinds of failures, for metrics.
type Reason string

// The reasons.
const (
	RateLimited  Reason = "rate_limited" // the authority has been asked too often
	DNS          Reason = "dns"          // the name leads nowhere
	Connection   Reason = "connection"   // the authority can't connect to the name's address
	Unauthorized Reason = "unauthorized" // somebody else answers there
	CAA          Reason = "caa"          // the domain's CAA records allow other authorities only
	Rejected     Reason = "rejected"     // the authority doesn't issue for such names
	Account      Reason = "account"      // the account, or its address, is not accepted
	Authority    Reason = "authority"    // the authority can't be reached, or is out of order
	Other        Reason = "other"
)

// Reasons are all of them.
var Reasons = []Reason{RateLimited, DNS, Connection, Unauthorized, CAA, Rejected, Account, Authority, Other}

// Failure is why an attempt failed.
type Failure struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"` // what went wrong, in words
	Hint    string `json:"hint"`    // what to do
	Detail  string `json:"detail"`  // what was said, word for word
	// When.
	At time.Time `json:"at"`
	// When the authority wants to be asked again, if it says so.
	RetryAfter time.Time `json:"retry_after,omitzero"`

	LoggedAt time.Time `json:"-"` // when it was last logged

	fromAuthority bool // it is the authority that says so
	isPermanent   bool // it is not tried again by itself
}

// retryNotBefore returns until when the authority is to be left alone, after so many attempts in the last hour: as long as it says, or
// where it says only that it has been asked too often, or is out of order, as long as it may take. (What it says in the
// header Retry-After doesn't reach us: acmez drops it.)
func (f Failure) retryNotBefore(now time.Time, attempts int) time.Time {
	switch {
	case !f.RetryAfter.IsZero():
		return f.RetryAfter
	case f.Reason == RateLimited:
		return now.Add(failurePeriod)
	case f.Reason == Authority && f.fromAuthority && attempts >= 2:
		return now.Add(overloadBackoff)
	}
	return time.Time{}
}

// newFailure makes words of an error. name is whom the certificate is for.
func newFailure(name string, err error) Failure {
	f := Failure{Reason: Other, Detail: err.Error()}
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		f.fromAuthority = true
		f.describeProblem(name, problem)
	} else {
		f.describeError(err)
	}
	if _, f.isPermanent = errors.AsType[certmagic.ErrNoRetry](err); f.isPermanent {
		f.Hint += "; it is not tried again by itself: then reload the configuration"
	}
	return f
}

// describeError makes words of what went wrong on the way.
func (f *Failure) describeError(err error) {
	var dnsErr *net.DNSError
	var unknown x509.UnknownAuthorityError
	var netErr net.Error
	switch {
	case errors.As(err, &unknown):
		f.set(Authority, "the certificate authority's own certificate is signed by nobody who is trusted",
			"set ACME_CA_ROOT to a PEM file with its root, if it is yours")
	case errors.As(err, &dnsErr):
		f.set(Authority, fmt.Sprintf("the certificate authority's name %s can't be resolved", dnsErr.Name), "see to the host's DNS and to its way out")
	case errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded):
		f.set(Authority, "the certificate authority can't be reached", "see to the host's way out to port 443; if its status page says that it is down, wait")
	default:
		f.set(Other, "the certificate could not be had", "the detail says why, if anything does; the edge's log has more")
	}
}

func (f *Failure) set(reason Reason, message, hint string) {
	f.Reason, f.Message, f.Hint = reason, message, hint
}

// describeProblem makes words of what the authority says. (RFC 8555, section 6.7)
func (f *Failure) describeProblem(name string, p acme.Problem) {
	f.Detail = p.Detail
	if len(p.Subproblems) > 0 {
		f.Detail += "; " + p.Subproblems[0].Detail
	}
	kind := strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)
	if kind == "unauthorized" && strings.Contains(strings.ToLower(p.Detail), "connect") {
		kind = "connection" // some authorities tell the two apart only in words
	}
	switch kind {
	case "rateLimited":
		f.RetryAfter = retryAfter(p.Detail)
		f.set(RateLimited, "the certificate authority has been asked too often and wants a pause",
			"wait; restarts and reloads don't make it sooner. Keep the volume edge_data, so that nothing has to be asked for twice")
	case "dns":
		f.set(DNS, name+" leads nowhere: the certificate authority finds no address for it",
			"make an A record (and AAAA, if the host has IPv6) for "+name+" that names this host")
	case "connection", "tls":
		f.set(Connection, "the certificate authority can't connect to "+name,
			"its DNS must name this host, and ports 80 and 443 must be open to everyone, over IPv6 as well if there is an AAAA record")
	case "unauthorized", "incorrectResponse":
		f.set(Unauthorized, "somebody else answers for "+name,
			"its DNS must name this host and no other; look for an old address, a CDN or another web server")
	case "caa":
		f.set(CAA, "the CAA records of "+name+" allow other certificate authorities only", "add one for this authority, or take them away")
	case "rejectedIdentifier", "unsupportedIdentifier":
		f.set(Rejected, "the certificate authority gives no certificates for "+name, "see to DOMAIN: it must be a public name that is yours")
	case "externalAccountRequired", "invalidContact", "unsupportedContact", "userActionRequired", "accountDoesNotExist":
		f.set(Account, "the certificate authority doesn't accept the account", "see to ACME_EMAIL, and whether this authority wants you to register first")
	case "serverInternal", "badNonce", "orderNotReady":
		f.set(Authority, "the certificate authority is out of order", "wait; it is asked again by itself")
	default:
		if p.Status >= 500 {
			f.set(Authority, "the certificate authority is out of order", "wait; it is asked again by itself")
			return
		}
		f.set(Other, "the certificate authority refuses: "+kind, "the detail says why, if anything does")
	}
}

// retryAfterPattern is how Let's Encrypt says when: "… retry after 2026-11-24 08:15:00 UTC: see https://…".
var retryAfterPattern = regexp.MustCompile(`retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)`)

// maxRetryAfter bounds what is believed of such a time.
const maxRetryAfter = 7 * 24 * time.Hour

func retryAfter(detail string) time.Time {
	m := retryAfterPattern.FindStringSubmatch(detail)
	if m == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.DateTime, strings.Replace(m[1], "T", " ", 1))
	if err != nil {
		return time.Time{}
	}
	if most := time.Now().Add(maxRetryAfter); at.After(most) { // one of the two clocks is wrong
		return most
	}
	return at
}
