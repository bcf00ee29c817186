package authority

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

var now = time.Now()

// pair returns a certificate that a has signed, as crypto/tls wants it.
func pair(t *testing.T, a *Authority, name string, hosts ...string) tls.Certificate {
	t.Helper()
	text, err := a.Sign(name, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake does a mutual handshake, and returns the common name of the client that the server has seen.
func shake(t *testing.T, a *Authority, client, server tls.Certificate, host string) (string, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CertificatePEM())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	clientEnd, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer clientEnd.Close()
	serverEnd, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		defer serverEnd.Close()
		s := tls.Server(serverEnd, &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
		if err := s.Handshake(); err != nil {
			seen <- ""
			return
		}
		seen <- s.ConnectionState().PeerCertificates[0].Subject.CommonName
		_, _ = s.Write([]byte{1})
	}()
	c := tls.Client(clientEnd, &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool, ServerName: host})
	_, err = io.ReadFull(c, make([]byte, 1))
	clientEnd.Close()
	return <-seen, err
}

func TestHostsTrustEachOther(t *testing.T) {
	a, err := New("stack", now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(a.CertificatePEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	server, client := pair(t, again, "databases", "databases", "192.0.2.7"), pair(t, a, "bigcapital")
	for _, host := range []string{"databases", "192.0.2.7"} {
		if name, err := shake(t, a, client, server, host); err != nil || name != "bigcapital" {
			t.Errorf("%s: client %q, %v", host, name, err)
		}
	}
	if _, err := shake(t, a, client, server, "other"); err == nil {
		t.Error("a server with another name is trusted")
	}
	if name, err := shake(t, a, server, server, "databases"); err == nil || name != "" {
		t.Error("a server's certificate is accepted as a client's")
	}
	otherAuthority, err := New("stack", now)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := shake(t, a, pair(t, otherAuthority, "bigcapital"), server, "databases"); err == nil || name != "" {
		t.Error("a client of another authority is trusted")
	}
	if _, err := shake(t, a, client, pair(t, otherAuthority, "databases", "databases"), "databases"); err == nil {
		t.Error("a server of another authority is trusted")
	}
}

func TestACertificateEndsWithItsAuthority(t *testing.T) {
	a, err := New("stack", now.Add(-authorityLifetime+24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(pair(t, a, "crm").Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if c.NotAfter.After(a.certificate.NotAfter) {
		t.Errorf("the certificate ends on %s, after its authority on %s", c.NotAfter, a.certificate.NotAfter)
	}
}

func TestWhatIsNoAuthorityIsRefused(t *testing.T) {
	a, err := New("stack", now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New("stack", now)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := other.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		certificate, key []byte
		want             string
	}{
		{nil, nil, "no certificate in PEM form"},
		{otherKey, nil, "no certificate in PEM form"},
		{a.CertificatePEM(), nil, "key is not in PEM form"},
		{a.CertificatePEM(), a.CertificatePEM(), "parse the key"},
		{a.CertificatePEM(), otherKey, "not the certificate's"},
	} {
		if _, err := Parse(c.certificate, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
