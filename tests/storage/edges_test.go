package storage

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

const site = "shared.test"

// node is one of several edges that share one storage.
type node struct {
	name        string
	http, https string // ports
	database    string // address of the database; "": PostgreSQL's own
	process     *harness.Process
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	return &node{name: name, http: testport.Port(t), https: testport.Port(t)}
}

// start runs the edge with the shared storage, in a table that only this test uses.
func (n *node) start(t *testing.T, ca *lab.Authority) {
	t.Helper()
	caddyfile := fmt.Sprintf(`{
	admin off
	persist_config off
	http_port %s
	https_port %s
	acme_ca %s
	acme_ca_root %s
	storage postgres {
		dsn {env.EDGE_STORAGE_DSN}
		key {env.EDGE_STORAGE_KEY}
		table %s
		lease 5s
	}
	edge {
		resolver 127.0.0.1:1
	}
}
%s {
	respond %s
}
`, n.http, n.https, ca.URL, ca.RootFile, tableName(t), site, n.name)
	n.process = harness.StartEdge(t, caddyfile,
		"EDGE_STORAGE_DSN="+testOptions(cmp.Or(n.database, database)).DSN, "EDGE_STORAGE_KEY="+keyOne)
	t.Cleanup(func() {
		n.kill()
		if text := n.process.Output(); strings.Contains(text, "hunter2") || strings.Contains(text, keyOne) {
			t.Errorf("the log of %s contains a secret", n.name)
		}
	})
}

func tableName(t *testing.T) string { return strings.ToLower(t.Name()) }

// kill ends the edge as a crash does: it releases no lock.
func (n *node) kill() {
	_ = n.process.Stop(syscall.SIGKILL) // it may have ended already
}

// waitListening waits until the edge accepts connections.
func (n *node) waitListening(t *testing.T) {
	t.Helper()
	conn := harness.EventuallyValue(t, 30*time.Second, n.name+" listens", func() (net.Conn, error) {
		return net.Dial("tcp", "127.0.0.1:"+n.https)
	})
	_ = conn.Close() // nothing was sent
}

// waitForCertificate waits until the edge serves the site, and returns its certificate.
func (n *node) waitForCertificate(t *testing.T, ca *lab.Authority, within time.Duration) *x509.Certificate {
	t.Helper()
	conn := harness.EventuallyValue(t, within, n.name+" serves "+site, func() (*tls.Conn, error) {
		return tls.Dial("tcp", "127.0.0.1:"+n.https, &tls.Config{ServerName: site, RootCAs: ca.Issued})
	})
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// newAuthority starts an authority that validates all orders at the ports of one node.
func newAuthority(t *testing.T, at *node) *lab.Authority {
	t.Helper()
	var o lab.Options
	for port, to := range map[string]*int{at.http: &o.HTTPPort, at.https: &o.TLSPort} {
		if _, err := fmt.Sscan(port, to); err != nil {
			t.Fatal(err)
		}
	}
	ca := lab.Start(t, o)
	ca.Resolve(t, site, "127.0.0.1")
	return ca
}

// blockRequest blocks the first request to a path until unblock is called. It closes arrived when the request has arrived.
func blockRequest(ca *lab.Authority, path string) (arrived <-chan struct{}, unblock func()) {
	hasArrived, unblocked := make(chan struct{}), make(chan struct{})
	var isLater atomic.Bool
	ca.SetFault(func(r *http.Request) *lab.Fault {
		if r.URL.Path == path && !isLater.Swap(true) {
			close(hasArrived)
			<-unblocked
		}
		return nil
	})
	return hasArrived, sync.OnceFunc(func() { close(unblocked) })
}

// TestTwoEdgesMakeOneOrder starts both at once: one obtains the certificate, and both serve it.
func TestTwoEdgesMakeOneOrder(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, one)
	arrived, unblock := blockRequest(ca, "/order-plz")
	defer unblock()
	began := time.Now()
	one.start(t, ca)
	two.start(t, ca)
	<-arrived
	one.waitListening(t) // two may be the one that orders, and the authority validates at one
	unblock()
	first, second := one.waitForCertificate(t, ca, 30*time.Second), two.waitForCertificate(t, ca, 30*time.Second)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Error("the edges serve different certificates")
	}
	if n := len(ca.Orders(site)); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
	t.Logf("both edges serve one certificate after %s; orders: %d", time.Since(began).Round(10*time.Millisecond), len(ca.Orders(site)))
}

// TestTheOtherEdgeAnswersTheChallenge: the authority validates at the edge that has not ordered.
func TestTheOtherEdgeAnswersTheChallenge(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, two)
	arrived, unblock := blockRequest(ca, "/order-plz")
	defer unblock()
	one.start(t, ca)
	<-arrived // one has the lock
	two.start(t, ca)
	two.waitListening(t)
	unblock()
	first, second := one.waitForCertificate(t, ca, 30*time.Second), two.waitForCertificate(t, ca, 30*time.Second)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 || len(ca.Orders(site)) != 1 {
		t.Errorf("%d orders, want 1; the edges serve the same certificate: %t", len(ca.Orders(site)), first.SerialNumber.Cmp(second.SerialNumber) == 0)
	}
}

// TestOtherEdgeTakesOverAKilledEdgesOrder: it takes over when the lease of the killed edge is over.
func TestOtherEdgeTakesOverAKilledEdgesOrder(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, two)
	arrived, unblock := blockRequest(ca, "/order-plz")
	defer unblock()
	one.start(t, ca)
	<-arrived
	two.start(t, ca)
	two.waitListening(t)
	one.kill()
	began := time.Now()
	unblock()
	two.waitForCertificate(t, ca, 20*time.Second)
	took := time.Since(began)
	if took > 10*time.Second { // the lease takes 5 s, and the order some time
		t.Errorf("the other edge serves after %s, want at most 10s", took)
	}
	t.Logf("the other edge serves %s after the kill, with a lease of 5s; orders: %d", took.Round(10*time.Millisecond), len(ca.Orders(site)))
}

// TestDisconnectedEdgeServesTheOthersCertificate: it does so without a restart, when it reaches the database again.
func TestDisconnectedEdgeServesTheOthersCertificate(t *testing.T) {
	t.Parallel() // the edge waits a minute before certmagic's second attempt
	w := newDatabaseProxy(t)
	one, two := newNode(t, "one"), newNode(t, "two")
	one.database = w.address()
	ca := newAuthority(t, two)
	arrived, unblock := blockRequest(ca, "/order-plz")
	defer unblock()
	one.start(t, ca)
	<-arrived // one has the lock
	two.start(t, ca)
	two.waitListening(t)
	w.setDown(true)
	second := two.waitForCertificate(t, ca, 30*time.Second) // after the lease
	unblock()
	one.process.WaitForLog(t, time.Minute, "will retry") // it cannot store the certificate that it obtained
	w.setDown(false)
	began := time.Now()
	first := one.waitForCertificate(t, ca, 2*time.Minute)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Error("it serves another certificate than the other edge")
	}
	t.Logf("the disconnected edge serves the other's certificate %s after its connection is back; orders: %d", time.Since(began).Round(time.Second), len(ca.Orders(site)))
}

// TestEdgeExitsIfItsDatabaseIsDownAtStart: it exits with an error message, so that Docker starts it again.
func TestEdgeExitsIfItsDatabaseIsDownAtStart(t *testing.T) {
	t.Parallel()
	w := newDatabaseProxy(t)
	w.setDown(true)
	one := newNode(t, "one")
	one.database = w.address()
	ca := newAuthority(t, one)
	one.start(t, ca)
	harness.EventuallyWithin(t, 40*time.Second, "the edge has exited", one.process.HasEnded)
	if one.process.Wait() == nil {
		t.Error("the edge exits with status 0")
	}
	text := one.process.Output()
	if !strings.Contains(text, "certificates can't be kept") || !strings.Contains(text, "hint: check that the edge reaches the storage") {
		t.Errorf("the edge logs:\n%s", text)
	}
}
