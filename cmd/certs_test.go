package cmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/certs"
	"github.com/theworklabs/edge/modules/certificates"
)

func TestCertTableShowsErrorsAndHints(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := []certificates.Status{
		{
			Name: "a.example", State: certificates.OK, Managed: true, Issuer: "R11", NotAfter: now.Add(60 * 24 * time.Hour),
			RenewalAt: now.Add(30 * 24 * time.Hour),
		},
		{
			Name: "b.example", State: certificates.Failing, Managed: true, Tries: 3, NextTry: now.Add(5 * time.Minute),
			LastError: &certs.Failure{
				Reason: certs.DNS, Message: "b.example leads nowhere", Hint: "make an A record", Detail: "NXDOMAIN", At: now.Add(-time.Minute),
			},
		},
		{Name: "c.example", State: certificates.Expired, Issuer: "R10", NotAfter: now.Add(-2 * time.Hour)},
		{Name: "d.example", State: certificates.Trying},
	}
	var out bytes.Buffer
	if err := printCerts(&out, all, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"in 60d", "in 30d", "b.example: b.example leads nowhere (3 attempts failed, the last one 1m0s ago)", "to do: make an A record",
		"detail: NXDOMAIN", "in 5m", "2h0m ago",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if err := failedCertsError(all); err == nil || !strings.Contains(err.Error(), "b.example is failing, c.example is expired") {
		t.Errorf("got %v", err)
	}
	if err := failedCertsError(all[:1]); err != nil {
		t.Errorf("a valid certificate: %v", err)
	}
	out.Reset()
	if err := printCerts(&out, nil, now); err != nil || !strings.Contains(out.String(), "no certificates") {
		t.Errorf("no certificates: %v %q", err, &out)
	}
}
