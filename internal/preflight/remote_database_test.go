package preflight

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/authority"
)

// remoteMachine is a fake of the machine with the databases.
type remoteMachine struct {
	authority *authority.Authority
	port      string
	answer    []byte        // what a database says first
	wait      time.Duration // before the connection is closed
}

func newRemoteMachine(t *testing.T, now time.Time) *remoteMachine {
	t.Helper()
	a, err := authority.New("databases of the stack", now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Sign("databases", []string{"app"}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CertificatePEM())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	m := &remoteMachine{authority: a, port: port}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if conn.(*tls.Conn).Handshake() == nil {
					_, _ = conn.Write(m.answer)
					time.Sleep(m.wait)
				}
			}()
		}
	}()
	return m
}

func TestRemoteDatabasesAreReached(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, w *fakeHost, m *remoteMachine, dir string)
		level  Level
		want   string
		hint   string
	}{
		{"one that speaks first", func(_ *testing.T, _ *fakeHost, m *remoteMachine, _ string) { m.answer = []byte("greeting") }, OK, "app is reached at 127.0.0.1:", ""},
		{"one that waits", func(_ *testing.T, _ *fakeHost, m *remoteMachine, _ string) { m.wait = time.Minute }, OK, "app is reached at 127.0.0.1:", ""},
		{"one that is down", func(*testing.T, *fakeHost, *remoteMachine, string) {}, Error, "app does not respond through 127.0.0.1:", "docker compose logs databases"},
		{"no machine", func(_ *testing.T, w *fakeHost, _ *remoteMachine, _ string) {
			w.service("app")["environment"].(jsonObject)["DATABASES_PORT"] = "1"
		}, Error, "app is not reached at 127.0.0.1:1: ", "firewall"},
		{"a client of another authority", func(t *testing.T, _ *fakeHost, _ *remoteMachine, dir string) {
			writeRemoteFiles(t, newRemoteMachine(t, minClock).authority, dir, "client.pem")
		}, Error, "the two machines do not trust each other: remote error: tls", "one edge init --databases"},
		{"a machine of another authority", func(t *testing.T, _ *fakeHost, _ *remoteMachine, dir string) {
			writeRemoteFiles(t, newRemoteMachine(t, minClock).authority, dir, "authority.pem")
		}, Error, "the two machines do not trust each other: tls: failed to verify certificate", "one edge init --databases"},
		{"no client certificate", func(t *testing.T, _ *fakeHost, _ *remoteMachine, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "client.pem"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, Error, "app: tls: failed to find any PEM data", "edge init --databases"},
		{"no authority", func(t *testing.T, _ *fakeHost, _ *remoteMachine, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "authority.pem"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, Error, "authority.pem has no certificate", "edge init --databases"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			w, m, dir := newFakeHost(t), newRemoteMachine(t, now), t.TempDir()
			writeRemoteFiles(t, m.authority, dir, "client.pem", "authority.pem")
			w.service("app")["environment"].(jsonObject)["DATABASES_HOST"] = "127.0.0.1"
			w.service("app")["environment"].(jsonObject)["DATABASES_PORT"] = m.port
			w.service("app")["volumes"] = []jsonObject{
				{"type": "bind", "source": filepath.Join(dir, "client.pem"), "target": databasesClientPath, "read_only": true},
				{"type": "bind", "source": filepath.Join(dir, "authority.pem"), "target": databasesAuthority, "read_only": true},
			}
			c.change(t, w, m, dir)
			expectFinding(t, w.newCheck(t).Run(t.Context()), "database", c.level, c.want, c.hint)
		})
	}
}

// writeRemoteFiles writes the files of the proxies for databases on another machine.
func writeRemoteFiles(t *testing.T, a *authority.Authority, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		text := a.CertificatePEM()
		if name == "client.pem" {
			var err error
			if text, err = a.Sign("bigcapital", nil, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACollectionOfAuthoritiesIsLeftOut(t *testing.T) {
	w, file := newFakeHost(t), filepath.Join(t.TempDir(), "ca-certificates.pem")
	var text []byte
	for range 2 {
		a, err := authority.New("an authority that has ended", w.now.Add(-100*365*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, a.CertificatePEM()...)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": file, "target": "/etc/ssl/ca.pem", "read_only": true}}
	expectNoProblems(t, w.newCheck(t).Run(t.Context()))
}

func TestCertificatesThatEndAreFound(t *testing.T) {
	const lifetime = 5 * 365 * 24 * time.Hour // of what package authority signs
	for _, c := range []struct {
		left  time.Duration
		level Level
		want  string
	}{
		{-time.Hour, Error, "has ended on 2026-"},
		{30 * 24 * time.Hour, Warning, "ends on 2026-"},
		{90 * 24 * time.Hour, OK, "is valid until 2027-"},
	} {
		w, dir := newFakeHost(t), t.TempDir()
		a, err := authority.New("databases of the stack", w.now.Add(-2*lifetime))
		if err != nil {
			t.Fatal(err)
		}
		text, err := a.Sign("server", []string{"databases"}, w.now.Add(c.left-lifetime))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "server.pem")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		w.service("app")["volumes"] = []jsonObject{{"type": "bind", "source": file, "target": "/run/databases/server.pem", "read_only": true}}
		expectFinding(t, w.newCheck(t).Run(t.Context()), "certificate", c.level, c.want, "")
	}
}

// TestACertificateBesideItsAuthorityIsFound: the edge mounts an authority alone, and a CDN has the certificate.
func TestACertificateBesideItsAuthorityIsFound(t *testing.T) {
	w, dir := newFakeHost(t), t.TempDir()
	a, err := authority.New("CDN", w.now.Add(-4*365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	another, err := authority.New("another", w.now)
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Sign("cdn", nil, w.now.Add(-5*365*24*time.Hour-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := another.Sign("foreign", nil, w.now.Add(-5*365*24*time.Hour-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"authority.pem": a.CertificatePEM(), "client.pem": client, "foreign.pem": foreign} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.service("edge")["volumes"] = append(w.service("edge")["volumes"].([]jsonObject),
		jsonObject{"type": "bind", "source": filepath.Join(dir, "authority.pem"), "target": "/etc/edge/cdn/authority.pem", "read_only": true})
	findings := w.newCheck(t).Run(t.Context())
	expectFinding(t, findings, "certificate", Error, "edge: the certificate in "+filepath.Join(dir, "client.pem")+" has ended on ", "docs/cdn.md")
	for _, f := range findings {
		if strings.Contains(f.Message, "foreign.pem") {
			t.Errorf("a certificate of another authority: %+v", f)
		}
	}
}
