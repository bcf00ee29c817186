// Package lab runs a certificate authority for tests: Pebble, the DNS server that Pebble uses for validation, and a proxy in front
// of Pebble that counts requests and can make them fail. All of them are processes of this machine that end with the test.
//
//	ca := lab.Start(t, lab.Options{})
//	ca.Resolve(t, "edge.test", "172.20.0.3") // where the authority validates the name
//	… run an edge with ACME_CA=ca.URL and ACME_CA_ROOT=ca.RootFile …
//	ca.Orders("edge.test")                   // when certificates for the name were ordered
package lab

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// Options configure an authority.
type Options struct {
	Host     string        // the address at which edges reach the authority; default 127.0.0.1
	HTTPPort int           // the port of HTTP-01 validation; default 80
	TLSPort  int           // the port of TLS-ALPN-01 validation; default 443
	Validity time.Duration // of certificates; default 90 days
	OCSP     string        // the URL of the OCSP responder in certificates; default none
	BadNonce int           // the percentage of requests that get the error badNonce
}

// Authority is a running certificate authority.
type Authority struct {
	*FaultProxy
	RootFile string         // PEM file with the root of the authority's own HTTPS certificate
	Issued   *x509.CertPool // the root of the certificates that it issues

	management     string // URL of Pebble's management API
	dns            string // URL of the DNS server's management API
	insecureClient *http.Client
}

// Start builds Pebble if necessary and runs an authority until the test ends.
func Start(t testing.TB, o Options) *Authority {
	t.Helper()
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	dir := t.TempDir()
	front, rootFile := newFaultProxy(t, dir, o.Host)
	ca := &Authority{
		FaultProxy: front, RootFile: rootFile,
		insecureClient: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		},
	}
	resolver := ca.startDNS(t)
	ca.startPebble(t, dir, resolver, o)
	ca.waitFor(t, "https://"+front.pebbleAddr+"/dir")

	ca.Issued = x509.NewCertPool()
	if !ca.Issued.AppendCertsFromPEM(ca.FetchManagement(t, "/roots/0")) {
		t.Fatal("the authority has no root")
	}
	return ca
}

func (ca *Authority) startDNS(t testing.TB) (resolver string) {
	resolver, management := testport.Address(t), testport.Address(t)
	ca.dns = "http://" + management
	startTool(t, nil, "pebble-challtestsrv", "-dnsserver", resolver, "-management", management,
		"-defaultIPv4", "", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	ca.waitFor(t, ca.dns)
	return resolver
}

func (ca *Authority) startPebble(t testing.TB, dir, resolver string, o Options) {
	listen, management := ca.pebbleAddr, testport.Address(t)
	ca.management = "https://" + management
	validity := 90 * 24 * time.Hour
	if o.Validity > 0 {
		validity = o.Validity
	}
	algorithm := "ecdsa"
	if o.OCSP != "" {
		algorithm = "rsa" // the management API returns only RSA keys
	}
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": filepath.Join(dir, "front.pem"), "privateKey": filepath.Join(dir, "front.key"),
		"httpPort": cmp.Or(o.HTTPPort, 80), "tlsPort": cmp.Or(o.TLSPort, 443), "ocspResponderURL": o.OCSP,
		"retryAfter":   map[string]int{"authz": 1, "order": 1},
		"keyAlgorithm": algorithm,
		"profiles":     map[string]any{"default": map[string]any{"validityPeriod": int(validity.Seconds())}},
	}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	startTool(t, []string{
		"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0", fmt.Sprintf("PEBBLE_WFE_NONCEREJECT=%d", o.BadNonce),
	}, "pebble", "-config", file, "-dnsserver", resolver)
}

// Resolve sets the address of a name in the authority's DNS. With "", the name does not resolve.
func (ca *Authority) Resolve(t testing.TB, name, address string) {
	t.Helper()
	ca.post(t, ca.dns+"/clear-a", map[string]any{"host": name + "."})
	if address != "" {
		ca.post(t, ca.dns+"/add-a", map[string]any{"host": name + ".", "addresses": []string{address}})
	}
}

// FetchManagement makes a GET request to Pebble's management API: /roots/0, /intermediates/0, /intermediate-keys/0.
func (ca *Authority) FetchManagement(t testing.TB, path string) []byte {
	t.Helper()
	resp, err := ca.insecureClient.Get(ca.management + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", path, resp.StatusCode, err, text)
	}
	return text
}

func (ca *Authority) post(t testing.TB, url string, body any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ca.insecureClient.Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
}

// waitFor waits until a URL answers.
func (ca *Authority) waitFor(t testing.TB, url string) {
	t.Helper()
	resp := harness.EventuallyValue(t, 30*time.Second, url+" answers", func() (*http.Response, error) { return ca.insecureClient.Get(url) })
	resp.Body.Close()
}

// startTool starts a program of tools/go.mod. The end of the test kills it.
func startTool(t testing.TB, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, name), args...)
	cmd.Env = append(os.Environ(), env...)
	harness.StartProcess(t, cmd)
}
