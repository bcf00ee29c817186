package proxy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/quic-go/quic-go/http3"

	"github.com/theworklabs/edge/internal/registry"
	"github.com/theworklabs/edge/internal/testport"
)

// serveTLS runs a site over TLS, with all versions of HTTP and api:80 at the address, and waits until the endpoint is ready.
func serveTLS(t testing.TB, address, directives string) (url string) {
	t.Helper()
	port := testport.Port(t)
	cert, key := writeSelfSignedCert(t) // with a managed certificate, Caddy's own goroutines race with its start
	text := fmt.Sprintf("{\n admin off\n persist_config off\n storage file_system %s\n auto_https disable_redirects\n skip_install_trust\n grace_period 1s\n"+
		" log {\n level ERROR\n }\n edge {\n resolver 127.0.0.1:1\n static api:80 %s\n }\n}\nhttps://localhost:%s {\n tls %s %s\n %s\n}\n",
		storageDir, address, port, cert, key, directives)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	ready := watchState(t, address, registry.Ready)
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	<-ready
	return "https://localhost:" + port
}

// writeSelfSignedCert writes a certificate for localhost, and its key, to files.
func writeSelfSignedCert(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// insecureTLSConfig returns a client's configuration that verifies no certificate.
func insecureTLSConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, RootCAs: x509.NewCertPool()}
}

// transportPerVersion returns a client for each version of HTTP.
func transportPerVersion(t testing.TB) map[string]http.RoundTripper {
	t.Helper()
	one := &http.Transport{TLSClientConfig: insecureTLSConfig()}
	two := &http.Transport{TLSClientConfig: insecureTLSConfig(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: insecureTLSConfig()}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		three.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

func TestTrailersArriveOverEveryHTTPVersion(t *testing.T) {
	b := newHeaderEcho(t)
	url := serveTLS(t, b.address, "edge_proxy api:80")
	for version, client := range transportPerVersion(t) {
		want := "trailer X-Checksum: abc"
		if version == "HTTP/3.0" {
			want = "trailer X-Checksum" // quic-go's server reads the announced names, and drops the values
		}
		for _, method := range []string{"PUT", "POST"} {
			for _, body := range []string{"hello", ""} {
				req, err := http.NewRequest(method, url, io.NopCloser(strings.NewReader(body)))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = -1
				req.Trailer = http.Header{"X-Checksum": {"abc"}, "X-Real-Ip": {"6.6.6.6"}}
				resp, err := client.RoundTrip(req)
				if err != nil {
					t.Errorf("%s %s: %v", version, method, err)
					continue
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.Proto != version || !bytes.Contains(text, []byte(want)) || bytes.Contains(text, []byte("6.6.6.6")) {
					t.Errorf("%s %s with %d bytes, over %s: the backend got\n%s", version, method, len(body), resp.Proto, text)
				}
			}
		}
	}
}

// TestForbiddenTrailersAreIgnored: over HTTP/3, a client can announce trailers such as Content-Length.
func TestForbiddenTrailersAreIgnored(t *testing.T) {
	b := newHeaderEcho(t)
	url := serveTLS(t, b.address, "edge_proxy api:80")
	client := transportPerVersion(t)["HTTP/3.0"]
	for _, method := range []string{"PUT", "POST"} {
		req, err := http.NewRequest(method, url, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = -1
		req.Header.Set("Trailer", "Content-Length, Transfer-Encoding, Trailer, X-Checksum")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s, want 200", method, resp.Status)
		}
	}
}

func TestABodylessRequestStaysSoOverEveryHTTPVersion(t *testing.T) {
	b := newHeaderEcho(t)
	url := serveTLS(t, b.address, "edge_proxy api:80")
	for version, client := range transportPerVersion(t) {
		for _, method := range []string{"GET", "DELETE"} {
			req, err := http.NewRequest(method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Errorf("%s %s: %v", version, method, err)
				continue
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.Proto != version || bytes.Contains(text, []byte("Transfer-Encoding")) {
				t.Errorf("%s %s, over %s: the backend got\n%s", version, method, resp.Proto, text)
			}
		}
	}
}
