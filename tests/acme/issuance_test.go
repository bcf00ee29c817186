package acme

import (
	"net/http"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/acme/lab"
)

// TestFirstIssuance: three sites get their certificates by each kind of challenge alone, and by the one that works.
func TestFirstIssuance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		ca     lab.Options
		env    []string
		orders int // at most, for each name
	}{
		{"HTTP-01", lab.Options{Host: gateway}, []string{"ACME_OPTIONS=cert_issuer acme {\ndisable_tlsalpn_challenge\n}"}, 1},
		{"TLS-ALPN-01", lab.Options{Host: gateway}, []string{"ACME_OPTIONS=cert_issuer acme {\ndisable_http_challenge\n}"}, 1},
		// With the shipped configuration. If one kind of challenge fails, the edge tries the other one with a second order.
		{"as shipped", lab.Options{Host: gateway}, nil, 1},
		{"port 80 closed on the way", lab.Options{Host: gateway, HTTPPort: 81}, nil, 2},
		{"port 443 closed on the way", lab.Options{Host: gateway, TLSPort: 444}, nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, lab.Start(t, c.ca), c.env...)
			began := time.Now()
			s.up()
			for _, site := range s.sites() {
				s.waitForCertificate(50*time.Second, site, anyCertificate)
			}
			s.logCase(began, "three sites have certificates")
			s.checkMaxOrders(c.orders)
		})
	}
}

// TestCertificatesAndAccountSurviveRecreation: they are in the volume, and the recreated edge orders nothing. The test also checks
// that the edge redirects HTTP to HTTPS, except for the health check.
func TestCertificatesAndAccountSurviveRecreation(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	began := time.Now()
	s.up()
	accounting := s.sites()[0]
	first := s.waitForCertificate(30*time.Second, accounting, anyCertificate)
	for _, site := range s.sites() {
		s.waitForCertificate(30*time.Second, site, anyCertificate)
	}
	accounts := s.ca.Count("sign-me-up")
	s.up("--force-recreate")
	again := s.waitForCertificate(30*time.Second, accounting, anyCertificate)
	if first.SerialNumber.Cmp(again.SerialNumber) != 0 {
		t.Error("the recreated edge serves another certificate")
	}
	s.checkMaxOrders(1)
	if got := s.ca.Count("sign-me-up"); got != accounts {
		t.Errorf("%d accounts after the recreation, %d before", got, accounts)
	}
	s.logCase(began, "the recreated edge serves the same certificates, with no new order and no new account")

	for url, want := range map[string]int{
		"http://" + accounting + "/health":                          http.StatusOK,
		"http://" + accounting + "/invoices":                        http.StatusPermanentRedirect,
		"http://unknown.test/":                                      http.StatusNotFound,
		"http://" + accounting + "/.well-known/acme-challenge/none": http.StatusPermanentRedirect,
	} {
		a, err := s.get(url)
		if location := a.Header.Get("Location"); err != nil || a.Status != want || want == http.StatusPermanentRedirect && location != "https"+url[len("http"):] {
			t.Errorf("%s: %v, %d to %q, want %d", url, err, a.Status, location, want)
		}
	}
}
