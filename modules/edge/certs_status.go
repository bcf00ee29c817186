package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/theworklabs/edge/internal/certs"
)

// CertificateState is how a certificate is.
type CertificateState string

// The states.
const (
	CertificateOK       CertificateState = "ok"
	CertificateMissing  CertificateState = "missing"  // there is none, and none is asked for now
	CertificateTrying   CertificateState = "trying"   // there is none, and one is being asked for
	CertificateFailing  CertificateState = "failing"  // the last attempt failed, whether there is one or not
	CertificateExpiring CertificateState = "expiring" // in less than a week, or a fifth of its life, with no renewal in sight
	CertificateExpired  CertificateState = "expired"
)

// recordServedCertificates has the book know what is served: a certificate that another edge has obtained is no event here.
func (l *runtime) recordServedCertificates() {
	for _, e := range l.certTracker.Entries() {
		if e.LastFailure == nil {
			continue
		}
		if cert, found := servedCertificate(e.Name); found {
			l.certTracker.RecordServed(e.Name, cert.Leaf.NotAfter)
		}
	}
}

// CertificateStatus is one name's certificate, as GET /edge/certificates shows it. Times are RFC 3339, and left out if
// there is none.
type CertificateStatus struct {
	Name      string           `json:"name"`
	State     CertificateState `json:"state"`
	Managed   bool             `json:"managed"` // whether the edge obtains and renews it by itself
	Issuer    string           `json:"issuer"`  // the common name, or the organization, of who signed it
	NotAfter  time.Time        `json:"not_after,omitzero"`
	ExpiresIn float64          `json:"expires_in"`          // seconds; negative when it has expired; 0 without a certificate
	RenewalAt time.Time        `json:"renewal_at,omitzero"` // about when the next renewal begins
	Tries     int              `json:"tries"`               // failed attempts since the last success
	LastError *certs.Failure   `json:"last_error,omitempty"`
	NextTry   time.Time        `json:"next_try,omitzero"` // about when, after a failure
}

// Certificates returns the certificates of the running configuration, sorted by name.
func Certificates() []CertificateStatus {
	all := []CertificateStatus{}
	l := sharedRuntime()
	if l == nil {
		return all
	}
	now := time.Now()
	app := activeTLSApp()
	sites := sitesWithTLS(caddy.ActiveContext())
	l.recordServedCertificates()
	for _, e := range l.certTracker.Entries() {
		cert, found := servedCertificate(e.Name)
		if !sites[e.Name] && (!found && !isRecent(l, e) || found && app != nil && !app.HasCertificateForSubject(e.Name)) {
			continue // of a configuration before this one
		}
		delete(sites, e.Name)
		all = append(all, certificateStatus(e, cert, found, app, now))
	}
	// Nothing has been heard of these: what keeps certmagic from even beginning, such as a full disk or a lock that is another
	// edge's, is no event.
	for name := range sites {
		e := certs.Entry{Name: name, Managed: true, AttemptRunning: time.Since(time.Unix(0, l.provisionedAt.Load())) < staleNameGrace, UpdatedAt: now}
		cert, found := servedCertificate(name)
		all = append(all, certificateStatus(e, cert, found, app, now))
	}
	slices.SortFunc(all, func(x, y CertificateStatus) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// staleNameGrace is how long a name without a certificate is shown after a reload that says nothing of it. A name that is still
// in the configuration is tried, and heard of, at once.
const staleNameGrace = 30 * time.Second

// certAttemptTimeout is how long an attempt is taken to be under way of which nothing more is heard.
const certAttemptTimeout = 15 * time.Minute

func isRecent(l *runtime, e certs.Entry) bool {
	loaded := time.Unix(0, l.provisionedAt.Load())
	return e.UpdatedAt.After(loaded) || time.Since(loaded) < staleNameGrace
}

func certificateStatus(e certs.Entry, cert certmagic.Certificate, found bool, app *caddytls.TLS, now time.Time) CertificateStatus {
	s := CertificateStatus{
		Name: e.Name, State: CertificateMissing, Managed: e.Managed, Tries: e.Failures, LastError: e.LastFailure, NextTry: e.NextTry(now),
	}
	if found {
		s.State = CertificateOK
		s.Issuer, s.NotAfter = issuerName(cert), cert.Leaf.NotAfter
		s.ExpiresIn = s.NotAfter.Sub(now).Round(time.Second).Seconds()
		if e.Managed {
			s.RenewalAt = renewalTime(e.Name, cert, app)
		}
	}
	switch {
	case e.LastFailure != nil:
		s.State = CertificateFailing
	case found && now.After(s.NotAfter):
		s.State = CertificateExpired
	case found && s.NotAfter.Sub(now) < min(7*24*time.Hour, s.NotAfter.Sub(cert.Leaf.NotBefore)/5):
		s.State = CertificateExpiring
	case !found && e.AttemptRunning && now.Sub(e.UpdatedAt) < certAttemptTimeout:
		s.State = CertificateTrying
	}
	return s
}

// servedCertificate returns what is served for a name: of several certificates the one that lasts longest.
func servedCertificate(name string) (certmagic.Certificate, bool) {
	all := slices.DeleteFunc(caddytls.AllMatchingCertificates(name), func(c certmagic.Certificate) bool { return c.Leaf == nil })
	if len(all) == 0 {
		return certmagic.Certificate{}, false
	}
	return slices.MaxFunc(all, func(x, y certmagic.Certificate) int { return x.Leaf.NotAfter.Compare(y.Leaf.NotAfter) }), true
}

func hasCertificate(name string) bool {
	_, found := servedCertificate(name)
	return found
}

func issuerName(cert certmagic.Certificate) string {
	by := cert.Leaf.Issuer
	if by.CommonName != "" {
		return by.CommonName
	}
	if len(by.Organization) > 0 {
		return by.Organization[0]
	}
	return by.String()
}

// renewalTime returns about when a certificate will be renewed: when the share of its life that the configuration names is
// left. An authority may ask for it earlier (ARI, RFC 9773).
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
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return cert.Leaf.NotAfter.Add(-time.Duration(float64(life) * ratio)).Round(time.Second)
}

// activeTLSApp returns that of the running configuration, or nil.
func activeTLSApp() *caddytls.TLS { return tlsAppFrom(caddy.ActiveContext()) }

// tlsAppFrom returns that of a configuration, or nil.
func tlsAppFrom(ctx caddy.Context) *caddytls.TLS {
	if ctx.Context == nil {
		return nil
	}
	app, err := ctx.AppIfConfigured("tls")
	if err != nil {
		return nil
	}
	tls, _ := app.(*caddytls.TLS)
	return tls
}

func serveCertificates(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s not allowed; use GET", r.Method)}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(Certificates())
}
