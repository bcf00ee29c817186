package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

// stack is the shipped stack: the shipped Caddyfile and compose.yaml, with other variables. Only the edge, its socket proxy and the
// documentation site run.
type stack struct {
	harness.Project
	t      testing.TB
	ca     *lab.Authority
	domain string
}

// newStack returns a stack, not yet started, whose domain is named after the test; env are more variables.
func newStack(t testing.TB, ca *lab.Authority, env ...string) *stack {
	t.Helper()
	short := strings.ToLower(strings.NewReplacer("/", "", "_", "", "-", "").Replace(strings.TrimPrefix(t.Name(), "Test")))
	short = short[:min(len(short), 40)]
	s := &stack{
		Project: harness.Project{
			Name: "edgeacme" + short, Files: []string{"../../compose.yaml", "../compose.test.yaml"},
			HTTP: testport.Port(t), HTTPS: testport.Port(t),
		},
		t: t, ca: ca, domain: short + ".test",
	}
	file := harness.InitEnv(t, t.TempDir(), s.domain)
	s.Env = append([]string{
		"COMPOSE_ENV_FILES=" + file, "PUBLISH_HTTP=127.0.0.1:" + s.HTTP, "PUBLISH_HTTPS=127.0.0.1:" + s.HTTPS,
		"ACME_CA=" + ca.URL, "ACME_CA_ROOT=" + ca.RootFile,
	}, env...)
	s.Cleanup(t)
	return s
}

// up starts the stack. The authority answers no request before its DNS has the stack's names.
func (s *stack) up(args ...string) {
	s.t.Helper()
	s.ca.HoldRequestsDuring(func() { s.start(args...) })
}

func (s *stack) start(args ...string) {
	s.t.Helper()
	s.mustCompose(append([]string{"up", "--detach", "--no-deps"}, append(args, "gate", "edge", "corteza-docs")...)...)
	for _, site := range s.sites() {
		s.resolveToEdge(site)
	}
}

// resolveToEdge sets the address of the gate, which the edge serves, as that of a name in the authority's DNS.
func (s *stack) resolveToEdge(name string) {
	s.t.Helper()
	s.resolveTo(name, "gate", "gate")
}

// resolveTo sets the address that a service's container has on a network as that of a name in the authority's DNS.
func (s *stack) resolveTo(name, service, network string) {
	s.t.Helper()
	addresses, err := s.Addresses(context.Background(), service, network)
	if err != nil || len(addresses) != 1 {
		s.t.Fatalf("%s has the addresses %v: %v", service, addresses, err)
	}
	s.ca.Resolve(s.t, name, addresses[0])
}

// sites returns the names of the three sites: accounting, CRM, documentation.
func (s *stack) sites() []string {
	return []string{"accounting." + s.domain, "crm." + s.domain, "docs." + s.domain}
}

func (s *stack) mustCompose(args ...string) string {
	s.t.Helper()
	return s.MustCompose(s.t, args...)
}

// handshake makes a TLS connection for a name, as a browser that trusts the authority does.
func (s *stack) handshake(name string) (*tls.ConnectionState, error) {
	return s.handshakeTrusting(name, s.ca.Issued)
}

func (s *stack) handshakeTrusting(name string, roots *x509.CertPool) (*tls.ConnectionState, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 2 * time.Second},
		Config:    &tls.Config{ServerName: name, RootCAs: roots},
	}
	conn, err := dialer.Dial("tcp", "127.0.0.1:"+s.HTTPS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	return &state, nil
}

// waitForCertificate waits until a name is served with a certificate that wanted accepts, and returns it.
func (s *stack) waitForCertificate(within time.Duration, name string, wanted func(*x509.Certificate) bool) *x509.Certificate {
	s.t.Helper()
	return harness.EventuallyValue(s.t, within, name+" is served with the wanted certificate", func() (*x509.Certificate, error) {
		state, err := s.handshake(name)
		if err != nil {
			return nil, err
		}
		if got := state.PeerCertificates[0]; !wanted(got) {
			return nil, fmt.Errorf("it is served with the certificate %s", got.SerialNumber)
		}
		return state.PeerCertificates[0], nil
	})
}

func anyCertificate(*x509.Certificate) bool { return true }

func otherThan(old *x509.Certificate) func(*x509.Certificate) bool {
	return func(c *x509.Certificate) bool { return c.SerialNumber.Cmp(old.SerialNumber) != 0 }
}

// get makes a request and follows no redirect.
func (s *stack) get(url string) (harness.Response, error) {
	client := s.Client(false, s.ca.Issued)
	client.Timeout = 10 * time.Second
	return harness.Do(client, http.MethodGet, url, nil)
}

// waitHealthy waits until /health answers with 200 over HTTP, which needs no certificate.
func (s *stack) waitHealthy() {
	s.t.Helper()
	harness.EventuallyWithin(s.t, 30*time.Second, "/health answers with 200", func() bool {
		a, err := s.get("http://" + s.sites()[0] + "/health")
		return err == nil && a.Status == http.StatusOK
	})
}

// logCase logs the result of a case, how long it took, and how many orders each site has made.
func (s *stack) logCase(began time.Time, what string) {
	s.t.Helper()
	var orders []string
	for _, site := range s.sites() {
		orders = append(orders, fmt.Sprintf("%s %d", strings.TrimSuffix(site, "."+s.domain), len(s.ca.Orders(site))))
	}
	s.t.Logf("CASE %s: %s after %s; orders: %s", s.t.Name(), what, time.Since(began).Round(10*time.Millisecond), strings.Join(orders, ", "))
}

// checkMaxOrders fails the test if more certificates were ordered for a name.
func (s *stack) checkMaxOrders(orders int) {
	s.t.Helper()
	for _, site := range s.sites() {
		if got := len(s.ca.Orders(site)); got > orders {
			s.t.Errorf("%d orders for %s, want at most %d", got, site, orders)
		}
	}
}
