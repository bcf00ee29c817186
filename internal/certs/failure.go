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

// Reason classifies failures. It is a label value of metrics.
type Reason string

// The reasons.
const (
	RateLimited  Reason = "rate_limited" // the certificate authority has received too many requests
	DNS          Reason = "dns"          // the certificate authority finds no address for the name
	Connection   Reason = "connection"   // the certificate authority can't connect to the name's address
	Unauthorized Reason = "unauthorized" // another server answers at the name's address
	CAA          Reason = "caa"          // the domain's CAA records allow only other authorities
	Rejected     Reason = "rejected"     // the certificate authority does not issue certificates for the name
	Account      Reason = "account"      // the certificate authority does not accept the account or its address
	Authority    Reason = "authority"    // the certificate authority can't be reached, or reports errors of its own
	Other        Reason = "other"
)

// Reasons lists all reasons.
var Reasons = []Reason{RateLimited, DNS, Connection, Unauthorized, CAA, Rejected, Account, Authority, Other}

// Failure is why an attempt failed.
type Failure struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"` // what went wrong, in words
	Hint    string `json:"hint"`    // what the operator can do
	Detail  string `json:"detail"`  // the original error text
	// When the attempt failed.
	At time.Time `json:"at"`
	// When the certificate authority accepts the next request, if it says so.
	RetryAfter time.Time `json:"retry_after,omitzero"`

	LoggedAt time.Time `json:"-"` // when a failure with this reason was last logged

	fromAuthority bool // the certificate authority has reported it
	isPermanent   bool // certmagic does not retry
}

// retryNotBefore returns the time before which the certificate authority gets no request, given the number of attempts in the last
// hour; zero if there is no such time. If the authority names no time, it is an hour after a rate limit, and overloadBackoff
// after its second error within an hour. (acmez drops the header Retry-After, so only the text of an error can name a time.)
func (f Failure) retryNotBefore(now time.Time, attempts int) time.Time {
	switch {
	case !f.RetryAfter.IsZero():
		return f.RetryAfter
	case f.Reason == RateLimited:
		return now.Add(time.Hour)
	case f.Reason == Authority && f.fromAuthority && attempts >= 2:
		return now.Add(overloadBackoff)
	}
	return time.Time{}
}

// overloadBackoff is how long a certificate authority gets no request after it has reported its own errors twice within an hour.
// acmez sends three requests for an order in each attempt then: nine an hour.
const overloadBackoff = 30 * time.Minute

// newFailure describes the error of an attempt to obtain the certificate for a name.
func newFailure(name string, err error) Failure {
	f := Failure{Reason: Other, Detail: err.Error()}
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		f.fromAuthority = true
		f.describeProblem(name, problem)
	} else {
		f.describeError(err)
	}
	if _, f.isPermanent = errors.AsType[certmagic.ErrNoRetry](err); f.isPermanent {
		f.Hint += "; the edge does not retry by itself: reload the configuration afterwards"
	}
	return f
}

// describeError describes an error that the certificate authority did not report.
func (f *Failure) describeError(err error) {
	var dnsErr *net.DNSError
	var unknown x509.UnknownAuthorityError
	var netErr net.Error
	switch {
	case errors.As(err, &unknown):
		f.set(Authority, "the certificate authority's own certificate is signed by an untrusted authority",
			"if the certificate authority is yours, set ACME_CA_ROOT to a PEM file with its root certificate")
	case errors.As(err, &dnsErr):
		f.set(Authority, fmt.Sprintf("the certificate authority's name %s can't be resolved", dnsErr.Name), "check the host's DNS and its connection to the internet")
	case errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded):
		f.set(Authority, "the certificate authority can't be reached", "check that the host can open connections to port 443; if the authority's status page reports an outage, wait")
	default:
		f.set(Other, "the certificate could not be obtained", "read the detail, and the edge's log")
	}
}

func (f *Failure) set(reason Reason, message, hint string) {
	f.Reason, f.Message, f.Hint = reason, message, hint
}

// describeProblem describes an error that the certificate authority reported. (RFC 8555, section 6.7)
func (f *Failure) describeProblem(name string, p acme.Problem) {
	f.Detail = p.Detail
	if len(p.Subproblems) > 0 {
		f.Detail += "; " + p.Subproblems[0].Detail
	}
	kind := strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)
	if kind == "unauthorized" && strings.Contains(strings.ToLower(p.Detail), "connect") {
		kind = "connection" // some authorities distinguish the two only in the detail
	}
	switch kind {
	case "rateLimited":
		f.RetryAfter = retryAfter(p.Detail)
		f.set(RateLimited, "the certificate authority has received too many requests and wants a pause",
			"wait; a restart or a reload does not shorten the pause. Keep the volume edge_data, so that the edge need not request a certificate twice")
	case "dns":
		f.set(DNS, "the certificate authority finds no address for "+name,
			"add a DNS A record (and AAAA, if the host has IPv6) for "+name+" with the address of this host")
	case "connection", "tls":
		f.set(Connection, "the certificate authority can't connect to "+name,
			"its DNS records must have the address of this host, and ports 80 and 443 must be open to everyone, over IPv6 as well if there is an AAAA record")
	case "unauthorized", "incorrectResponse":
		f.set(Unauthorized, "another server answers for "+name,
			"its DNS records must have the address of this host and no other; look for an old address, a CDN or another web server")
	case "caa":
		f.set(CAA, "the CAA records of "+name+" allow only other certificate authorities", "add a CAA record for this authority, or remove the records")
	case "rejectedIdentifier", "unsupportedIdentifier":
		f.set(Rejected, "the certificate authority issues no certificates for "+name, "check DOMAIN: it must be a public name that is yours")
	case "externalAccountRequired", "invalidContact", "unsupportedContact", "userActionRequired", "accountDoesNotExist":
		f.set(Account, "the certificate authority does not accept the account", "check ACME_EMAIL, and whether this authority requires a registration first")
	case "serverInternal", "badNonce", "orderNotReady":
		f.set(Authority, "the certificate authority reports an error of its own", "wait; the edge retries by itself")
	default:
		if p.Status >= 500 {
			f.set(Authority, "the certificate authority reports an error of its own", "wait; the edge retries by itself")
			return
		}
		f.set(Other, "the certificate authority refuses the request: "+kind, "read the detail")
	}
}

// retryAfterPattern matches how Let's Encrypt names a time: "… retry after 2026-11-24 08:15:00 UTC: see https://…".
var retryAfterPattern = regexp.MustCompile(`retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)`)

// maxRetryAfter limits such a time.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter returns the time that a detail names, in UTC; zero if there is none.
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
