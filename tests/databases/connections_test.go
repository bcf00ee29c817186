package databases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/authority"
	"github.com/theworklabs/edge/tests/harness"
)

// TestConnectionsBetweenTheMachines: what the port of the second machine lets through, and what the first one does when the second is gone.
func TestConnectionsBetweenTheMachines(t *testing.T) {
	p := newPair(t)
	p.second.MustCompose(t, "up", "--detach", "--wait")
	p.setRemote(true)
	p.first.MustCompose(t, "up", "--detach", "--wait", "bigcapital-mysql", "bigcapital-redis", "corteza-db")
	c := p.startClient(t)

	t.Run("clients reach the databases of their application only", func(t *testing.T) { p.testClients(t) })
	t.Run("applications have no way around", func(t *testing.T) {
		for _, container := range []string{c.mariadb, c.postgres} {
			if out, err := inContainer(t.Context(), container, `timeout 3 bash -c "exec 3<>/dev/tcp/$0"`, "corteza-db/5432"); err != nil {
				t.Errorf("the way through the proxy: %v %s", err, out)
			}
			if out, err := inContainer(t.Context(), container, `timeout 3 bash -c "exec 3<>/dev/tcp/$0"`, p.address+"/"+p.port); err == nil {
				t.Errorf("a container in the network of the databases reaches the other machine: %s", out)
			}
		}
	})
	t.Run("edge check connects to them", func(t *testing.T) {
		out := p.first.tryEdge(t, "check") // ports of the test's own stack and images without a version are not what this is about
		for _, name := range []string{"bigcapital-mysql", "bigcapital-redis", "corteza-db"} {
			if !strings.Contains(out, name+" is reached at "+p.address) {
				t.Errorf("%s is not reached:\n%s", name, out)
			}
		}
	})
	t.Run("a database that is replaced is found again", func(t *testing.T) {
		p.second.MustCompose(t, "up", "--detach", "--force-recreate", "--wait", "corteza-db", "bigcapital-mysql")
		c.wait(t, "the databases respond", true)
	})
	t.Run("waiting clients are disconnected when the machine is gone", func(t *testing.T) {
		done := make(chan error, 1)
		go func() {
			_, err := c.psql(t.Context(), "SELECT pg_sleep(120)")
			done <- err
		}()
		harness.Eventually(t, "the client waits", func() bool {
			out, err := c.psql(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
			return err == nil && out == "1"
		})
		p.second.MustCompose(t, "pause", "databases") // takes connections, and responds no more
		start := time.Now()
		select {
		case err := <-done:
			if err == nil {
				t.Error("the statement succeeded")
			}
			t.Logf("disconnected after %.1f s", time.Since(start).Seconds())
		case <-time.After(30 * time.Second):
			t.Error("the client still waits after 30 s")
		}
		harness.Eventually(t, "the proxies are unhealthy", func() bool {
			out, err := p.first.Compose(t.Context(), "ps", "--format", "{{.Service}} {{.Health}}", "bigcapital-mysql", "bigcapital-redis", "corteza-db")
			return err == nil && strings.Count(out, "unhealthy") == 3
		})
		p.second.MustCompose(t, "unpause", "databases")
		c.wait(t, "the databases respond again", true)
	})
}

// wait waits until both databases respond, or none does.
func (c *client) wait(t *testing.T, what string, shouldRespond bool) {
	t.Helper()
	harness.EventuallyWithin(t, time.Minute, what, func() bool {
		_, err1 := c.sql(t.Context(), "SELECT 1")
		_, err2 := c.psql(t.Context(), "SELECT 1")
		return (err1 == nil) == shouldRespond && (err2 == nil) == shouldRespond
	})
}

// testClients connects with certificates of all kinds.
func (p *pair) testClients(t *testing.T) {
	databases := filepath.Join(p.first.dir, "databases")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(readFile(t, filepath.Join(databases, "authority.pem")))
	ours, err := authority.Parse(readFile(t, filepath.Join(databases, "authority.pem")), readFile(t, filepath.Join(databases, "authority.key")))
	if err != nil {
		t.Fatal(err)
	}
	otherAuthority, err := authority.New("databases of the stack", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sign := func(a *authority.Authority, name string, hosts []string, at time.Time) []byte {
		text, err := a.Sign(name, hosts, at)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	otherMachine, err := ours.SignMachine("replication", "10.9.9.9", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bigcapital, corteza := readFile(t, filepath.Join(databases, "bigcapital.pem")), readFile(t, filepath.Join(databases, "corteza.pem"))
	past := time.Now().Add(-10 * 365 * 24 * time.Hour)
	for _, test := range []struct {
		name       string
		client     []byte // its certificate and key; nil: none
		database   string
		version    uint16
		isReceived bool // whether something of a database is received
	}{
		{"bigcapital's at MariaDB", bigcapital, "bigcapital-mysql", 0, true},
		{"bigcapital's at Redis", bigcapital, "bigcapital-redis", 0, true},
		{"corteza's at PostgreSQL", corteza, "corteza-db", 0, true},
		{"bigcapital's at PostgreSQL", bigcapital, "corteza-db", 0, false},
		{"corteza's at MariaDB", corteza, "bigcapital-mysql", 0, false},
		{"corteza's at Redis", corteza, "bigcapital-redis", 0, false},
		{"corteza's, without a name", corteza, "", 0, false},
		{"none", nil, "corteza-db", 0, false},
		{"replication's", sign(ours, "replication", nil, time.Now()), "corteza-db", 0, true},
		{"replication's, of a machine that is not the peer", otherMachine, "corteza-db", 0, false},
		{"of another authority", sign(otherAuthority, "corteza", nil, time.Now()), "corteza-db", 0, false},
		{"of another name", sign(ours, "somebody", nil, time.Now()), "corteza-db", 0, false},
		{"a server's", sign(ours, "corteza", []string{"corteza"}, time.Now()), "corteza-db", 0, false},
		{"one that has ended", sign(ours, "corteza", nil, past), "corteza-db", 0, false},
		{"corteza's, with TLS 1.2", corteza, "corteza-db", tls.VersionTLS12, false},
	} {
		config := &tls.Config{RootCAs: pool, ServerName: test.database, MaxVersion: test.version}
		if test.database == "" {
			config.InsecureSkipVerify = true
		}
		if test.client != nil {
			pair, err := tls.X509KeyPair(test.client, test.client)
			if err != nil {
				t.Fatal(err)
			}
			// Also one that the server does not ask for.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		received, err := p.greet(t.Context(), config, test.database)
		if (received > 0) != test.isReceived {
			t.Errorf("%s: %d bytes received, %v", test.name, received, err)
		}
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(p.address, p.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = conn.Write([]byte("PING\r\n"))
	if got, err := io.ReadAll(conn); err != nil || strings.Contains(string(got), "PONG") {
		t.Errorf("without TLS: %q, %v", got, err)
	}
}

// greet connects, says what the database's protocol begins with, and returns how many bytes it received.
func (p *pair) greet(ctx context.Context, config *tls.Config, database string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(p.address, p.port))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	switch database {
	case "bigcapital-redis":
		_, err = conn.Write([]byte("PING\r\n"))
	case "corteza-db": // PostgreSQL's StartupMessage, protocol 3.0
		body := append(binary.BigEndian.AppendUint32(nil, 3<<16), "user\x00corteza\x00\x00"...)
		_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...))
	}
	n, readErr := conn.Read(make([]byte, 1))
	return n, errors.Join(err, readErr)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
