package storage

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theworklabs/edge/tests/acme/lab"
	"github.com/theworklabs/edge/tests/harness"
)

const site = "shared.test"

// node is one of several edges with one storage.
type node struct {
	name        string
	http, https string // ports
	database    string // address, if it is not the database's own
	log         string // file
	process     *exec.Cmd
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	return &node{name: name, http: harness.FreePort(t), https: harness.FreePort(t)}
}

// start runs the edge with the shared storage, in a table of the test's own.
func (n *node) start(t *testing.T, ca *lab.Authority) {
	t.Helper()
	dir := t.TempDir()
	caddyfile := filepath.Join(dir, "Caddyfile")
	config := fmt.Sprintf(`{
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
	if err := os.WriteFile(caddyfile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	n.log = log.Name()
	n.process = exec.Command(harness.Edge(t), "run", "--config", caddyfile)
	n.process.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"EDGE_STORAGE_DSN="+testOptions(cmp.Or(n.database, database)).DSN, "EDGE_STORAGE_KEY="+keyOne)
	n.process.Stdout, n.process.Stderr = log, log
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill()
		if text, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s (%v):\n%s", n.name, err, text)
		} else if strings.Contains(string(text), "hunter2") || strings.Contains(string(text), keyOne) {
			t.Errorf("%s's log has a secret", n.name)
		}
		_ = log.Close() // written by someone else
	})
}

func tableName(t *testing.T) string { return strings.ToLower(t.Name()) }

// kill is what a crash is to the others: no goodbye.
func (n *node) kill() {
	if n.process != nil {
		_ = n.process.Process.Kill() // it may have ended
		_ = n.process.Wait()         // by that
		n.process = nil
	}
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

// newAuthority validates at one node's ports, whoever asked.
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

// blockRequest has the first request to a path wait, and returns when that has come, and what lets it go on.
func blockRequest(ca *lab.Authority, path string) (came <-chan struct{}, free func()) {
	arrived, open := make(chan struct{}), make(chan struct{})
	var later atomic.Bool
	ca.SetFault(func(r *http.Request) *lab.Fault {
		if r.URL.Path == path && !later.Swap(true) {
			close(arrived)
			<-open
		}
		return nil
	})
	return arrived, sync.OnceFunc(func() { close(open) })
}

// TestTwoEdgesMakeOneOrder: both start at once, one obtains the certificate, both serve it.
func TestTwoEdgesMakeOneOrder(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, one)
	began := time.Now()
	one.start(t, ca)
	two.start(t, ca)
	first, second := one.waitForCertificate(t, ca, 30*time.Second), two.waitForCertificate(t, ca, 30*time.Second)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Error("they serve different certificates")
	}
	if n := len(ca.Orders(site)); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
	t.Logf("both serve one certificate after %s; orders: %d", time.Since(began).Round(10*time.Millisecond), len(ca.Orders(site)))
}

// TestTheOtherEdgeAnswersTheChallenge: the authority knows only the edge that did not order.
func TestTheOtherEdgeAnswersTheChallenge(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, two)
	came, free := blockRequest(ca, "/order-plz")
	defer free()
	one.start(t, ca)
	<-came // one has the lock
	two.start(t, ca)
	two.waitListening(t)
	free()
	first, second := one.waitForCertificate(t, ca, 30*time.Second), two.waitForCertificate(t, ca, 30*time.Second)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 || len(ca.Orders(site)) != 1 {
		t.Errorf("%d orders, and the same certificate: %t", len(ca.Orders(site)), first.SerialNumber.Cmp(second.SerialNumber) == 0)
	}
}

// TestOtherEdgeTakesOverAKilledEdgesOrder by the other one, when its lease is over.
func TestOtherEdgeTakesOverAKilledEdgesOrder(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	ca := newAuthority(t, two)
	came, free := blockRequest(ca, "/order-plz")
	defer free()
	one.start(t, ca)
	<-came
	two.start(t, ca)
	two.waitListening(t)
	one.kill()
	began := time.Now()
	free()
	two.waitForCertificate(t, ca, 20*time.Second)
	took := time.Since(began)
	if took > 10*time.Second { // the lease of 5 s, and the order
		t.Errorf("the other one took %s", took)
	}
	t.Logf("the other edge serves %s after the kill, with a lease of 5s; orders: %d", took.Round(10*time.Millisecond), len(ca.Orders(site)))
}

// TestDisconnectedEdgeServesTheOthersCertificate, when it reaches the database again: without a restart.
func TestDisconnectedEdgeServesTheOthersCertificate(t *testing.T) {
	t.Parallel() // it waits for certmagic's second attempt, a minute later
	w := newDatabaseProxy(t)
	one, two := newNode(t, "one"), newNode(t, "two")
	one.database = w.address()
	ca := newAuthority(t, two)
	came, free := blockRequest(ca, "/order-plz")
	defer free()
	one.start(t, ca)
	<-came // one has the lock
	two.start(t, ca)
	two.waitListening(t)
	w.setDown(true)
	second := two.waitForCertificate(t, ca, 30*time.Second) // after the lease
	free()
	one.waitForLog(t, "will retry", time.Minute) // what it obtained can't be kept
	w.setDown(false)
	began := time.Now()
	first := one.waitForCertificate(t, ca, 2*time.Minute)
	if first.SerialNumber.Cmp(second.SerialNumber) != 0 {
		t.Error("it serves another certificate")
	}
	t.Logf("the edge that was cut off serves the other's certificate %s after it was back; orders: %d", time.Since(began).Round(time.Second), len(ca.Orders(site)))
}

// waitForLog waits until the edge has written a text into its log.
func (n *node) waitForLog(t *testing.T, text string, within time.Duration) {
	t.Helper()
	harness.EventuallyWithin(t, within, fmt.Sprintf("%s has logged %q", n.name, text), func() bool {
		log, err := os.ReadFile(n.log)
		return err == nil && strings.Contains(string(log), text)
	})
}

// TestEdgeExitsIfItsDatabaseIsDownAtStart: it ends, to be started again, and says why.
func TestEdgeExitsIfItsDatabaseIsDownAtStart(t *testing.T) {
	t.Parallel()
	w := newDatabaseProxy(t)
	w.setDown(true)
	one := newNode(t, "one")
	one.database = w.address()
	ca := newAuthority(t, one)
	one.start(t, ca)
	ended := make(chan error, 1)
	go func() { ended <- one.process.Wait() }()
	select {
	case err := <-ended:
		one.process = nil
		if err == nil {
			t.Error("it ends as if all were well")
		}
	case <-time.After(40 * time.Second):
		t.Fatal("it runs")
	}
	text, err := os.ReadFile(one.log)
	if err != nil || !strings.Contains(string(text), "certificates can't be kept") || !strings.Contains(string(text), "hint: can the edge reach it") {
		t.Errorf("%v: it says:\n%s", err, text)
	}
}
