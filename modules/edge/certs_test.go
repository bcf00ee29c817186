package edge_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddypki"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"

	"github.com/theworklabs/edge/internal/certs"
	"github.com/theworklabs/edge/modules/certificates"
	"github.com/theworklabs/edge/modules/edge"
)

// refusingCA is an ACME server that refuses every account, and counts the requests.
type refusingCA struct {
	*httptest.Server
	rootFile string
	requests atomic.Int64
}

func newRefusingCA(t *testing.T, problem string) *refusingCA {
	t.Helper()
	r := new(refusingCA)
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Replay-Nonce", "bm9uY2U")
		switch req.URL.Path {
		case "/dir":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"newNonce": "%[1]s/nonce", "newAccount": "%[1]s/account", "newOrder": "%[1]s/order"}`, r.URL)
		case "/nonce":
		default:
			r.requests.Add(1)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, problem)
		}
	}))
	t.Cleanup(r.Close)
	r.rootFile = filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(r.rootFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// loadCerts loads a configuration that needs certificates: inside.localhost from the internal authority, and names from ca.
func (s *testEdge) loadCerts(ca *refusingCA, names ...string) {
	s.t.Helper()
	policies := []object{{"subjects": []string{"inside.localhost"}, "issuers": []object{{"module": "internal"}}}}
	automate := []string{"inside.localhost"}
	if ca != nil {
		automate = append(automate, names...)
		policies = append(policies, object{"issuers": []object{{"module": "acme", "ca": ca.URL + "/dir", "trusted_roots_pem_files": []string{ca.rootFile}}}})
	}
	raw, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"storage": object{"module": "file_system", "root": s.storage},
		"apps": object{
			"edge": object{"resolver": closedAddress},
			"pki":  object{"certificate_authorities": object{"local": object{"install_trust": false}}},
			// Without the cleaning of the storage, which has a data race with Caddy's own events at the start (CaddyModule has a value
			// receiver).
			"tls": object{"disable_storage_clean": true, "certificates": object{"automate": automate}, "automation": object{"policies": policies}},
			"http": object{"servers": object{"srv": object{
				"listen": []any{s.listen}, "automatic_https": object{"disable": true},
				"routes": []any{object{"handle": []any{object{"handler": "metrics"}}}},
			}}},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := caddy.Load(raw, true); err != nil {
		s.t.Fatal(err)
	}
}

// eventuallyCertificate waits until the status of a name's certificate matches, and returns it.
func eventuallyCertificate(t *testing.T, name string, wanted func(certificates.Status) bool) certificates.Status {
	t.Helper()
	for deadline := time.Now().Add(eventuallyTimeout); ; time.Sleep(5 * time.Millisecond) {
		var got certificates.Status
		for _, c := range edge.Certificates() {
			if c.Name == name {
				got = c
			}
		}
		if wanted(got) {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", name, got)
		}
	}
}

func isOK(c certificates.Status) bool      { return c.State == certificates.OK }
func isFailing(c certificates.Status) bool { return c.State == certificates.Failing }

const forbiddenProblem = `{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not for you", "status": 403}`

func TestCertificatesShowSuccessAndFailure(t *testing.T) {
	s, ca := newTestEdge(t), newRefusingCA(t, forbiddenProblem)
	s.loadCerts(ca, "outside.test")

	inside := eventuallyCertificate(t, "inside.localhost", isOK)
	if !inside.Managed || !strings.Contains(inside.Issuer, "Caddy") || inside.ExpiresIn <= 0 || !inside.RenewalAt.Before(inside.NotAfter) || inside.RenewalAt.IsZero() {
		t.Errorf("inside.localhost: %+v", inside)
	}
	outside := eventuallyCertificate(t, "outside.test", isFailing)
	if e := outside.LastError; outside.Tries != 1 || e.Reason != certs.Rejected || e.Detail != "not for you" || e.Hint == "" {
		t.Errorf("outside.test: %+v %+v", outside, outside.LastError)
	}
	if in := time.Until(outside.NextTry); in < 30*time.Second || in > time.Minute {
		t.Errorf("the next try is in %s, want about a minute", in)
	}

	rec, err := adminRequest(t, http.MethodGet, "/edge/certificates", "")
	if err != nil || !strings.Contains(rec.Body.String(), `"name":"outside.test","state":"failing"`) {
		t.Errorf("the admin API: %v %s", err, rec.Body)
	}
	if _, err := adminRequest(t, http.MethodDelete, "/edge/certificates", ""); err == nil {
		t.Error("the admin API accepts a DELETE")
	}
	metrics := s.metrics()
	for _, want := range []string{
		`edge_certificate_not_after_timestamp_seconds{name="inside.localhost"}`,
		`edge_certificate_renewal_timestamp_seconds{name="inside.localhost"}`,
		`edge_certificate_last_issuance_success{name="inside.localhost"} 1`,
		`edge_certificate_last_issuance_success{name="outside.test"} 0`,
		`edge_certificate_failures_total{name="outside.test",reason="rejected"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func (s *testEdge) metrics() string {
	s.t.Helper()
	resp, err := http.Get("http://" + s.listen + "/")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestRemovedNamesAreNotListed: the state of the other names outlives reloads.
func TestRemovedNamesAreNotListed(t *testing.T) {
	s, ca := newTestEdge(t), newRefusingCA(t, forbiddenProblem)
	s.loadCerts(ca, "outside.test")
	eventuallyCertificate(t, "inside.localhost", isOK)
	first := eventuallyCertificate(t, "outside.test", isFailing)
	s.loadCerts(ca, "outside.test", "another.test")
	eventuallyCertificate(t, "another.test", isFailing)
	if again := eventuallyCertificate(t, "outside.test", isFailing); again.Tries < first.Tries {
		t.Errorf("after a reload: %+v, want at least as many tries", again)
	}
	s.loadCerts(ca, "another.test")
	eventuallyCertificate(t, "another.test", isFailing)
	eventuallyCertificate(t, "inside.localhost", isOK)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	// After a restart, the storage has the failures of both names.
	s.loadCerts(ca, "another.test")
	eventuallyCertificate(t, "another.test", func(c certificates.Status) bool { return isFailing(c) && c.Tries > 1 })
	for _, c := range edge.Certificates() {
		if c.Name == "outside.test" {
			t.Errorf("a name of an earlier configuration is listed: %+v", c)
		}
	}
}

// TestSiteWithoutCertificateEventsIsListed: certmagic never asks for the certificate, because it can't lock the name.
func TestSiteWithoutCertificateEventsIsListed(t *testing.T) {
	s := newTestEdge(t)
	raw, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"storage": object{"module": "file_system", "root": s.storage},
		"apps": object{
			"edge": object{"resolver": closedAddress},
			"pki":  object{"certificate_authorities": object{"local": object{"install_trust": false}}},
			"tls":  object{"disable_storage_clean": true},
			"http": object{"https_port": 1, "http_port": 2, "servers": object{"srv": object{
				"listen": []any{s.listen}, "tls_connection_policies": []any{object{}},
				"automatic_https": object{"disable_certificates": false, "disable_redirects": true, "skip_certificates": []any{"skipped.test"}},
				"routes":          []any{object{"match": []any{object{"host": []any{"silent.localhost", "skipped.test"}}}}},
			}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// A directory in the place of the lock file: certmagic can neither take it nor find it stale.
	lock := filepath.Join(s.storage, "locks", "issue_cert_silent.localhost.lock")
	if err := os.MkdirAll(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(raw, true); err != nil {
		t.Fatal(err)
	}
	got := eventuallyCertificate(t, "silent.localhost", func(c certificates.Status) bool { return c.Name != "" })
	if got.State != certificates.Trying && got.State != certificates.Missing {
		t.Errorf("%+v", got)
	}
	for _, c := range edge.Certificates() {
		if c.Name == "skipped.test" {
			t.Errorf("a name that needs no certificate is listed: %+v", c)
		}
	}
}

// TestCertificateBackoffSurvivesRestarts: the storage has the failed attempts.
func TestCertificateBackoffSurvivesRestarts(t *testing.T) {
	s, ca := newTestEdge(t), newRefusingCA(t, forbiddenProblem)
	for tries := 1; tries <= 5; tries++ {
		s.loadCerts(ca, "outside.test")
		eventuallyCertificate(t, "outside.test", func(c certificates.Status) bool { return isFailing(c) && c.Tries == tries })
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	asked := ca.requests.Load()
	for range 3 {
		s.loadCerts(ca, "outside.test")
		blocked := eventuallyCertificate(t, "outside.test", isFailing)
		if in := time.Until(blocked.NextTry); in < 50*time.Minute {
			t.Errorf("after five failed attempts the next one is in %s, want almost an hour", in)
		}
		eventuallyCertificate(t, "inside.localhost", isOK)
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if got := ca.requests.Load(); got != asked {
		t.Errorf("the authority got %d requests after five failed attempts, want none", got-asked)
	}
}

func TestUnreadableCertificateStateIsIgnored(t *testing.T) {
	s, ca := newTestEdge(t), newRefusingCA(t, forbiddenProblem)
	if err := os.MkdirAll(filepath.Join(s.storage, "edge", "certificates"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.storage, "edge", "certificates", "outside.test.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.loadCerts(ca, "outside.test")
	eventuallyCertificate(t, "outside.test", isFailing)
	eventuallyCertificate(t, "inside.localhost", isOK)
}
