package acme

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

// retryTimeout is how long tests wait for the edge's second attempt: it makes that a minute after the first, and it takes some time.
const retryTimeout = 80 * time.Second

// TestRandomAuthorityErrorsAreRetried: a fifth of the authority's answers have status 500, until shortly before the second attempt.
// (With random errors in the second attempt, too, the test would fail at random.)
func TestRandomAuthorityErrorsAreRetried(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	var failed atomic.Int64
	began := time.Now()
	first := sync.OnceValue(time.Now) // not began: the start takes long on a busy machine
	s.ca.SetFault(func(r *http.Request) *lab.Fault {
		if time.Since(first()) > 50*time.Second || rand.IntN(5) > 0 {
			return nil
		}
		failed.Add(1)
		return &lab.Fault{Status: http.StatusInternalServerError, Type: "serverInternal", Detail: "out of order"}
	})
	s.up()
	for _, site := range s.sites() {
		s.waitForCertificate(retryTimeout, site, anyCertificate)
	}
	s.logCase(began, "three sites have certificates, and "+number(failed.Load())+" requests failed")
	s.checkMaxOrders(8) // acmez sends a newOrder request up to three times
}

func number(n int64) string { return string(json.RawMessage(mustJSON(n))) }

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// TestBadNoncesDoNotPreventIssuance: the authority answers badNonce to almost a third of the requests.
func TestBadNoncesDoNotPreventIssuance(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway, BadNonce: 30}))
	began := time.Now()
	s.up()
	for _, site := range s.sites() {
		s.waitForCertificate(retryTimeout+20*time.Second, site, anyCertificate)
	}
	s.logCase(began, "three sites have certificates")
	s.checkMaxOrders(4) // the fault proxy also counts requests that are sent again
}

// TestWrongDNSOfOneSiteDoesNotAffectOthers: two sites get their certificates at once, the third when its DNS is corrected.
func TestWrongDNSOfOneSiteDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	began := time.Now()
	accounting, crm, docs := s.sites()[0], s.sites()[1], s.sites()[2]
	s.ca.HoldRequestsDuring(func() {
		s.start()
		s.ca.Resolve(t, crm, "127.0.0.9") // nothing listens there
	})
	s.waitForCertificate(20*time.Second, accounting, anyCertificate)
	s.waitForCertificate(20*time.Second, docs, anyCertificate)
	s.logCase(began, "the other two sites have certificates")

	s.waitForLog("will retry")
	if _, err := s.handshake(crm); err == nil {
		t.Error("a site without a certificate is served over TLS")
	}
	said, err := s.Compose(s.t.Context(), "exec", "-T", "edge", "edge", "certs")
	if err == nil || !strings.Contains(said, "can't connect to "+crm) || !strings.Contains(said, "1 attempt failed") {
		t.Errorf("edge certs says (%v):\n%s", err, said)
	}
	t.Logf("edge certs:\n%s", said)
	// The first attempt makes all its orders at once, one for each kind of challenge. The next attempt is a minute later.
	s.resolveToEdge(crm)
	s.waitForCertificate(retryTimeout, crm, anyCertificate)
	s.logCase(began, "the third site has one after its DNS was corrected")
	s.checkMaxOrders(3)
}

// TestForeignServerAtOneSiteDoesNotAffectOthers: the name of one site resolves to another web server.
func TestForeignServerAtOneSiteDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}), "ACME_OPTIONS=cert_issuer acme {\ndisable_tlsalpn_challenge\n}")
	began := time.Now()
	accounting, crm := s.sites()[0], s.sites()[1]
	s.ca.HoldRequestsDuring(func() {
		s.start()
		s.resolveTo(crm, "corteza-docs", "network")
	})
	s.waitForCertificate(20*time.Second, accounting, anyCertificate)
	s.waitForFailures(crm, 1)
	said, err := s.Compose(s.t.Context(), "exec", "-T", "edge", "edge", "certs")
	if err == nil || !strings.Contains(said, "another server answers for "+crm) {
		t.Errorf("edge certs says (%v):\n%s", err, said)
	}
	s.logCase(began, "another site has its certificate; edge certs says that another server answers for the one whose DNS is wrong")
	s.checkMaxOrders(2)
}

// waitForOrders waits until n certificates were ordered for a name.
func (s *stack) waitForOrders(name string, n int, within time.Duration) {
	s.t.Helper()
	harness.EventuallyWithin(s.t, within, fmt.Sprintf("%d certificates were ordered for %s", n, name), func() bool {
		return len(s.ca.Orders(name)) >= n
	})
}

// TestRateLimitAppliesToOneNameOnly: the authority refuses orders for one site until a time after certmagic's second attempt. The
// other sites get their certificates at once, and the edge makes no order for that site before that time.
func TestRateLimitAppliesToOneNameOnly(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	crm := s.sites()[1]
	// From the first order on, because the start may take longer than certmagic's pause on a busy machine.
	limit := sync.OnceValue(func() time.Time { return time.Now().UTC().Add(90 * time.Second).Truncate(time.Second) })
	s.ca.SetFault(func(r *http.Request) *lab.Fault {
		if r.URL.Path != "/order-plz" || !isOrderFor(r, crm) || time.Now().After(limit()) {
			return nil
		}
		return &lab.Fault{
			Status: http.StatusTooManyRequests, Type: "rateLimited", RetryAfter: time.Until(limit()),
			Detail: "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after " + limit().Format(time.DateTime) + " UTC: see https://ca.test/limits",
		}
	})
	began := time.Now()
	s.up()
	s.waitForCertificate(20*time.Second, s.sites()[0], anyCertificate)
	s.waitForCertificate(20*time.Second, s.sites()[2], anyCertificate)
	s.waitForOrders(crm, 1, 20*time.Second)
	s.waitForFailures(crm, 2) // the second attempt, for which the edge sends no order
	if n := len(s.ca.Orders(crm)); n != 1 {
		t.Errorf("%d orders before %s, want 1", n, limit())
	}
	if said := s.mustCompose("logs", "--no-log-prefix", "edge"); !strings.Contains(said, "a certificate is not asked for now") {
		t.Error("the log does not say that the edge waits with the order")
	}
	s.waitForCertificate(retryIntervals(t)[1]+retryTimeout, crm, anyCertificate) // the third
	all := s.ca.Orders(crm)
	if again := all[len(all)-1]; again.Before(limit()) {
		t.Errorf("the edge orders again at %s, and the authority had said not before %s", again, limit())
	}
	s.logCase(began, "the limited site has its certificate, too")
	s.checkMaxOrders(3)
}

// isOrderFor reports whether a request orders a certificate for a name.
func isOrderFor(r *http.Request, name string) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var jws struct{ Payload string }
	if json.Unmarshal(body, &jws) != nil {
		return false
	}
	payload, _ := base64.RawURLEncoding.DecodeString(jws.Payload) // an invalid payload orders nothing
	return strings.Contains(string(payload), `"`+name+`"`)
}

// TestStartWhileTheAuthorityIsDown: the edge runs, reports that it is healthy, refuses TLS, and gets its certificates soon after the
// authority is back.
func TestStartWhileTheAuthorityIsDown(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}))
	s.ca.Down()
	began := time.Now()
	s.start()
	s.waitHealthy()
	if _, err := s.handshake(s.sites()[0]); err == nil {
		t.Error("a site without a certificate is served over TLS")
	}
	s.waitForLog("will retry")
	s.ca.Up(t)
	for _, site := range s.sites() {
		s.waitForCertificate(retryTimeout, site, anyCertificate)
	}
	s.logCase(began, "three sites have certificates after the authority came back")
	s.checkMaxOrders(2)
}

// waitForLog waits until the edge has written a text into its log.
func (s *stack) waitForLog(text string) {
	s.t.Helper()
	harness.EventuallyWithin(s.t, 30*time.Second, fmt.Sprintf("the edge has logged %q", text), func() bool {
		return strings.Contains(s.mustCompose("logs", "--no-log-prefix", "edge"), text)
	})
}

// TestRenewalWhileTheAuthorityIsDown: the edge serves the old certificates, and renews them when the authority is back.
func TestRenewalWhileTheAuthorityIsDown(t *testing.T) {
	t.Parallel()
	// The edge renews a certificate when a tenth of its five minutes is over.
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway, Validity: 5 * time.Minute}),
		"ACME_OPTIONS=renewal_window_ratio 0.9\nrenew_interval 1s")
	s.ca.EditResponses(removeARI)
	began := time.Now()
	s.up()
	docs := s.sites()[2]
	first := s.waitForCertificate(30*time.Second, docs, anyCertificate)
	s.ca.Down()
	s.waitForLog("connection refused")
	still := s.waitForCertificate(time.Second, docs, anyCertificate)
	if first.SerialNumber.Cmp(still.SerialNumber) != 0 {
		t.Error("the certificate changed while the authority was down")
	}
	s.ca.Up(t)
	s.waitForCertificate(retryTimeout+10*time.Second, docs, otherThan(first))
	s.logCase(began, "the certificate was served all the time, and renewed after the authority came back")
	s.checkMaxOrders(4)
}

// removeARI removes renewalInfo from the directory: the authority does not suggest when to renew certificates (RFC 9773).
func removeARI(path string, resp *http.Response) error {
	if path != "/dir" {
		return nil
	}
	return editJSON(resp, func(dir map[string]any) { delete(dir, "renewalInfo") })
}

func editJSON(resp *http.Response, edit func(map[string]any)) error {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	edit(object)
	if text, err = json.Marshal(object); err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	resp.ContentLength = int64(len(text))
	resp.Header.Del("Content-Length")
	return nil
}

func TestFallbackAuthorityIsUsedWhenTheFirstIsDown(t *testing.T) {
	t.Parallel()
	first, second := lab.Start(t, lab.Options{Host: gateway}), lab.Start(t, lab.Options{Host: gateway})
	s := newStack(t, second, "ACME_CA="+first.URL, "ACME_CA_FALLBACK="+second.URL, "ACME_CA_ROOT="+writeRoots(t, first, second))
	first.Down()
	began := time.Now()
	s.up()
	for _, site := range s.sites() {
		s.waitForCertificate(30*time.Second, site, anyCertificate)
	}
	s.logCase(began, "three sites have certificates of the second authority")
	s.checkMaxOrders(1)
}

func writeRoots(t *testing.T, all ...*lab.Authority) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "roots.pem")
	var roots []byte
	for _, ca := range all {
		text, err := os.ReadFile(ca.RootFile)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, text...)
	}
	if err := os.WriteFile(file, roots, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
