package acme

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

// TestShortLivedCertificatesAreRenewedWhileTheyAreServed: no handshake fails while a certificate of a minute is replaced,
// again and again.
func TestShortLivedCertificatesAreRenewedWhileTheyAreServed(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway, Validity: 40 * time.Second}), "ACME_OPTIONS=renew_interval 1s")
	s.ca.EditResponses(removeARI)
	began := time.Now()
	s.up()
	docs := s.sites()[2]
	serving := s.waitForCertificate(30*time.Second, docs, anyCertificate)
	renewals, handshakes := 0, 0
	for renewals < 2 {
		state, err := s.handshake(docs)
		if err != nil {
			t.Fatalf("after %d handshakes and %d renewals: %v", handshakes, renewals, err)
		}
		handshakes++
		if cert := state.PeerCertificates[0]; cert.SerialNumber.Cmp(serving.SerialNumber) != 0 {
			serving, renewals = cert, renewals+1
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("renewed %d times", renewals)
		}
	}
	s.logCase(began, "renewed twice, and "+number(int64(handshakes))+" handshakes of as many succeeded")
	s.checkMaxOrders(4)
}

// TestCertificateIsRenewedWhenTheAuthorityAsks: by ACME Renewal Information (RFC 9773), long before its end.
func TestCertificateIsRenewedWhenTheAuthorityAsks(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}), "ACME_OPTIONS=renew_interval 1s")
	var mu sync.Mutex
	asks, firsts := false, make(map[string]bool) // the paths of the first certificates
	s.ca.EditResponses(func(path string, resp *http.Response) error {
		if !strings.Contains(path, "renewalInfo") {
			return nil
		}
		resp.Header.Set("Retry-After", "2") // else it would be asked in six hours
		start := time.Now().Add(60 * 24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if !asks {
			firsts[path] = true
		} else if firsts[path] {
			start = time.Now().Add(-time.Hour)
		}
		return editJSON(resp, func(info map[string]any) {
			info["suggestedWindow"] = map[string]any{"start": start.Format(time.RFC3339), "end": start.Add(time.Minute).Format(time.RFC3339)}
		})
	})
	began := time.Now()
	s.up()
	docs := s.sites()[2]
	first := s.waitForCertificate(30*time.Second, docs, anyCertificate)
	harness.EventuallyWithin(t, 30*time.Second, "the edge has asked for the renewal window of all three certificates", func() bool {
		mu.Lock()
		defer mu.Unlock()
		asks = len(firsts) == 3
		return asks
	})
	s.waitForCertificate(30*time.Second, docs, otherThan(first))
	s.logCase(began, "renewed 60 days early")
	s.checkMaxOrders(2)
}

// TestRevokedCertificateIsReplaced: the edge staples what the responder says, and when that says that the certificate
// is revoked, gets another one.
func TestRevokedCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	responder := newOCSPResponder(t)
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway, OCSP: responder.url}), "ACME_OPTIONS=renew_interval 1s\nocsp_interval 1s")
	s.ca.EditResponses(removeARI)
	responder.useKeyOf(t, s.ca)
	began := time.Now()
	s.up()
	docs := s.sites()[2]
	first := s.waitForCertificate(30*time.Second, docs, anyCertificate)
	s.waitForStaple(docs)
	s.logCase(began, "an answer that the certificate is good is stapled")

	responder.revoked.Store(first.SerialNumber.String())
	s.waitForCertificate(40*time.Second, docs, otherThan(first))
	s.waitForStaple(docs)
	s.logCase(began, "the revoked certificate is replaced")
	s.checkMaxOrders(2)
}

// waitForStaple waits until a name is served with an answer of the responder, and fails the test if that is not good.
func (s *stack) waitForStaple(name string) {
	s.t.Helper()
	harness.EventuallyWithin(s.t, 20*time.Second, name+" is served with a good OCSP response", func() bool {
		state, err := s.handshake(name)
		if err != nil || len(state.OCSPResponse) == 0 {
			return false
		}
		response, err := ocsp.ParseResponseForCert(state.OCSPResponse, state.PeerCertificates[0], state.PeerCertificates[1])
		if err != nil {
			s.t.Fatal(err)
		}
		return response.Status == ocsp.Good
	})
}

// ocspResponder answers OCSP requests (RFC 6960) in Pebble's place, which has none.
type ocspResponder struct {
	url     string
	revoked atomic.Value // a serial number, as a decimal
	issuer  atomic.Pointer[x509.Certificate]
	key     crypto.Signer
}

func newOCSPResponder(t *testing.T) *ocspResponder {
	t.Helper()
	r := new(ocspResponder)
	r.revoked.Store("")
	ln, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: r, ReadHeaderTimeout: time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// useKeyOf has it sign with the authority's key.
func (r *ocspResponder) useKeyOf(t *testing.T, ca *lab.Authority) {
	t.Helper()
	cert, _ := pem.Decode(ca.FetchManagement(t, "/intermediates/0"))
	key, _ := pem.Decode(ca.FetchManagement(t, "/intermediate-keys/0"))
	issuer, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	r.key = parsed
	r.issuer.Store(issuer)
}

func (r *ocspResponder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	asked, err := ocsp.ParseRequest(body)
	issuer := r.issuer.Load()
	if err != nil || issuer == nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	// Asked for again when half of its time is over.
	answer := ocsp.Response{
		Status: ocsp.Good, SerialNumber: asked.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(6 * time.Second),
	}
	if r.revoked.Load() == asked.SerialNumber.String() {
		answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, time.Now(), ocsp.Superseded
	}
	text, err := ocsp.CreateResponse(issuer, issuer, answer, r.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(text) // whoever is gone needs none
}
