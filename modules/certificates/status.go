package certificates

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/certs"
)

// State is the state of a certificate.
type State string

// The states.
const (
	OK       State = "ok"
	Missing  State = "missing"  // there is none, and the edge does not ask for one now
	Trying   State = "trying"   // there is none, and the edge is asking for one
	Failing  State = "failing"  // the last attempt failed, whether there is a certificate or not
	Expiring State = "expiring" // less than a week, or a fifth of its lifetime, is left, and no attempt has failed
	Expired  State = "expired"
)

// recordServed tells the tracker which certificates are served, because there is no event for one that another edge has obtained.
func (m *Monitor) recordServed() {
	for _, e := range m.tracker.Entries() {
		if e.LastFailure == nil {
			continue
		}
		if cert, found := m.served(e.Name); found {
			m.tracker.RecordServed(e.Name, cert.Leaf.NotAfter)
		}
	}
}

// Status is the certificate of one name, as GET /edge/certificates shows it. Times are RFC 3339; a time that does not exist is left out.
type Status struct {
	Name      string         `json:"name"`
	State     State          `json:"state"`
	Managed   bool           `json:"managed"` // whether the edge obtains and renews it
	Issuer    string         `json:"issuer"`  // the common name, or the organization, of the issuer
	NotAfter  time.Time      `json:"not_after,omitzero"`
	ExpiresIn float64        `json:"expires_in"`          // seconds; negative if it has expired, 0 without a certificate
	RenewalAt time.Time      `json:"renewal_at,omitzero"` // approximately when the next renewal begins
	Tries     int            `json:"tries"`               // failed attempts since the last success
	LastError *certs.Failure `json:"last_error,omitempty"`
	NextTry   time.Time      `json:"next_try,omitzero"` // approximately; only after a failure
}

// Status returns the certificates of a running configuration, sorted by name.
func (m *Monitor) Status(config caddy.Context) []Status {
	all := []Status{}
	now := time.Now()
	app := TLSApp(config)
	sites := Sites(config)
	m.recordServed()
	for _, e := range m.tracker.Entries() {
		cert, found := m.served(e.Name)
		if !sites[e.Name] && (!found && !m.isRecent(e) || found && app != nil && !app.HasCertificateForSubject(e.Name)) {
			continue // it belongs to an earlier configuration
		}
		delete(sites, e.Name)
		all = append(all, newStatus(e, cert, found, app, now))
	}
	// There was no event for the remaining sites. That is so as long as certmagic can't begin, for example because the disk is full,
	// or because another edge holds the lock.
	for name := range sites {
		e := certs.Entry{Name: name, Managed: true, AttemptRunning: time.Since(m.activeSince()) < staleNameGrace, UpdatedAt: now}
		cert, found := m.served(name)
		all = append(all, newStatus(e, cert, found, app, now))
	}
	slices.SortFunc(all, func(x, y Status) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// staleNameGrace is how long after a reload a name without a certificate and without an event is listed. certmagic tries a name that
// is still in the configuration at once, which is an event.
const staleNameGrace = 30 * time.Second

// certAttemptTimeout is how long after its begin an attempt without a result counts as running.
const certAttemptTimeout = 15 * time.Minute

// isRecent reports whether an event since the last reload named the entry, or the reload was a moment ago.
func (m *Monitor) isRecent(e certs.Entry) bool {
	return e.UpdatedAt.After(m.activeSince()) || time.Since(m.activeSince()) < staleNameGrace
}

func newStatus(e certs.Entry, cert certmagic.Certificate, found bool, app *caddytls.TLS, now time.Time) Status {
	s := Status{
		Name: e.Name, State: Missing, Managed: e.Managed, Tries: e.Failures, LastError: e.LastFailure, NextTry: e.NextTry(now),
	}
	if found {
		s.State = OK
		s.Issuer, s.NotAfter = issuerName(cert), cert.Leaf.NotAfter
		s.ExpiresIn = s.NotAfter.Sub(now).Round(time.Second).Seconds()
		if e.Managed {
			s.RenewalAt = renewalTime(e.Name, cert, app)
		}
	}
	switch {
	case e.LastFailure != nil:
		s.State = Failing
	case found && now.After(s.NotAfter):
		s.State = Expired
	case found && s.NotAfter.Sub(now) < min(7*24*time.Hour, s.NotAfter.Sub(cert.Leaf.NotBefore)/5):
		s.State = Expiring
	case !found && e.AttemptRunning && now.Sub(e.UpdatedAt) < certAttemptTimeout:
		s.State = Trying
	}
	return s
}

// servedCertificate returns the certificate that Caddy serves for a name; of several, the one that expires last.
func servedCertificate(name string) (certmagic.Certificate, bool) {
	all := slices.DeleteFunc(matchingCertificates(name), func(c certmagic.Certificate) bool { return c.Leaf == nil })
	if len(all) == 0 {
		return certmagic.Certificate{}, false
	}
	return slices.MaxFunc(all, func(x, y certmagic.Certificate) int { return x.Leaf.NotAfter.Compare(y.Leaf.NotAfter) }), true
}

// matchingCertificates returns none where Caddy panics: when the last configuration with the app tls has stopped, Caddy has no cache of
// certificates, and offers no way to ask whether it has.
func matchingCertificates(name string) (all []certmagic.Certificate) {
	defer func() {
		if err := recover(); err != nil {
			if _, isNil := err.(runtime.Error); !isNil {
				panic(err)
			}
			all = nil
		}
	}()
	return caddytls.AllMatchingCertificates(name)
}

func issuerName(cert certmagic.Certificate) string {
	issuer := cert.Leaf.Issuer
	if issuer.CommonName != "" {
		return issuer.CommonName
	}
	if len(issuer.Organization) > 0 {
		return issuer.Organization[0]
	}
	return issuer.String()
}

// renewalTime returns approximately when Caddy renews a certificate: when only the configured part of its lifetime is left. The
// authority may ask for an earlier renewal (ARI, RFC 9773).
func renewalTime(name string, cert certmagic.Certificate, app *caddytls.TLS) time.Time {
	ratio := certmagic.DefaultRenewalWindowRatio
	if app != nil && app.Automation != nil {
		for _, p := range app.Automation.Policies {
			subjects := p.Subjects()
			if (len(subjects) == 0 || slices.Contains(subjects, name)) && p.RenewalWindowRatio > 0 {
				ratio = p.RenewalWindowRatio
				break
			}
		}
	}
	lifetime := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return cert.Leaf.NotAfter.Add(-time.Duration(float64(lifetime) * ratio)).Round(time.Second)
}
