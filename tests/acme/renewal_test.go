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

// TestShortLivedCertificatesAreRenewedWhileTheyAreServed: no handshake fails while the edge renews a certificate of 40 s twice.
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
			t.Fatalf("%d renewals in two minutes, want 2", renewals)
		}
	}
	s.logCase(began, "renewed twice, and "+number(int64(handshakes))+" handshakes of as many succeeded")
	s.checkMaxOrders(4)
}

// TestCertificateIsRenewedWhenTheAuthorityAsks: the authority asks for it by ACME Renewal Information (RFC 9773), long before the
// certificate expires.
func TestCertificateIsRenewedWhenTheAuthorityAsks(t *testing.T) {
	t.Parallel()
	s := newStack(t, lab.Start(t, lab.Options{Host: gateway}), "ACME_OPTIONS=renew_interval 1s")
	var mu sync.Mutex
	isRenewalDue, first3 := false, make(map[string]bool) // the paths of the first three certificates
	s.ca.EditResponses(func(path string, resp *http.Response) error {
		if !strings.Contains(path, "renewalInfo") {
			return nil
		}
		resp.Header.Set("Retry-After", "2") // without it, the edge would ask again in six hours
		start := time.Now().Add(60 * 24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if !isRenewalDue {
			first3[path] = true
		} else if first3[path] {
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
		isRenewalDue = len(first3) == 3
		return isRenewalDue
	})
	s.waitForCertificate(30*time.Second, docs, otherThan(first))
	s.logCase(began, "renewed 60 days early")
	s.checkMaxOrders(2)
}

// TestRevokedCertificateIsReplaced: the edge staples the OCSP responder's answers, and orders another certificate when the responder
// answers that the certificate is revoked.
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
	s.logCase(began, "a good OCSP response is stapled")

	responder.revoked.Store(first.SerialNumber.String())
	s.waitForCertificate(40*time.Second, docs, otherThan(first))
	s.waitForStaple(docs)
	s.logCase(began, "the revoked certificate is replaced")
	s.checkMaxOrders(2)
}

// waitForStaple waits until a name is served with an OCSP response whose status is good.
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

// ocspResponder answers OCSP requests (RFC 6960), because Pebble has no responder.
type ocspResponder struct {
	url     string
	revoked atomic.Value // a decimal serial number; "": none
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

// useKeyOf makes the responder sign with the authority's key.
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
	request, err := ocsp.ParseRequest(body)
	issuer := r.issuer.Load()
	if err != nil || issuer == nil {
		http.Error(w, "no request", http.StatusBadRequest)
		return
	}
	// The edge asks again when half of this time is over.
	answer := ocsp.Response{
		Status: ocsp.Good, SerialNumber: request.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(6 * time.Second),
	}
	if r.revoked.Load() == request.SerialNumber.String() {
		answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, time.Now(), ocsp.Superseded
	}
	text, err := ocsp.CreateResponse(issuer, issuer, answer, r.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(text) // an error means that the client has left
}
