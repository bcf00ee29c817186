package tests

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
	"github.com/theworklabs/edge/tests/harness"
)

// haproxyProject is the shipped edge behind HAProxy, with three ports of loopback: two of HAProxy, and one of the edge.
type haproxyProject struct {
	*project
	http, tls, direct string
	clientIP          string // the address of clients on this host: Docker's gateway
	proxyIP           string // HAProxy's address
}

// newHAProxyProject starts the project in the network NETWORK.0/24, such as "10.213.107". isTrusted configures the edge to trust
// HAProxy.
func newHAProxyProject(t *testing.T, network string, isTrusted bool) *haproxyProject {
	t.Helper()
	f := &haproxyProject{
		project: newProject(t, "", "haproxy/compose.yaml"),
		http:    testport.Port(t), tls: testport.Port(t), direct: testport.Port(t),
		clientIP: network + ".1", proxyIP: network + ".2",
	}
	f.Env = []string{
		"HAPROXY_HTTP=" + f.http, "HAPROXY_TLS=" + f.tls, "HAPROXY_DIRECT=" + f.direct,
		"HAPROXY_NET=" + network, "HAPROXY_TRUSTED=static", "HAPROXY_PROXY_PROTOCOL=",
	}
	if isTrusted {
		f.Env = append(f.Env, "HAPROXY_TRUSTED=static "+f.proxyIP, "HAPROXY_PROXY_PROTOCOL="+f.proxyIP+"/32")
	}
	f.MustCompose(t, "up", "--detach")
	harness.Eventually(t, "the documentation site answers", func() bool {
		a, err := harness.Do(f.clientVia(f.direct, nil), http.MethodGet, docs+"/_test/echo", nil)
		return err == nil && a.Status == http.StatusOK
	})
	harness.Eventually(t, "HAProxy answers", func() bool {
		a, err := harness.Do(f.clientVia(f.http, nil), http.MethodGet, "http://docs.localhost/_test/echo", nil)
		return err == nil && a.Status == http.StatusOK
	})
	return f
}

// clientVia returns a client whose connections go to a port of loopback and begin with preface.
func (f *haproxyProject) clientVia(port string, preface []byte) *http.Client {
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
				if err == nil && preface != nil {
					_, err = conn.Write(preface)
				}
				return conn, err
			},
		},
	}
}

// clientIPSeen returns the client address that the application gets.
func (f *haproxyProject) clientIPSeen(t *testing.T, c *http.Client, url string, header ...string) string {
	t.Helper()
	a, err := harness.Do(c, http.MethodGet, url+"/_test/echo", nil, header...)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %d %v %s", url, a.Status, err, a.Body)
	}
	var echo struct{ Headers http.Header }
	if err := json.Unmarshal([]byte(a.Body), &echo); err != nil {
		t.Fatal(err)
	}
	return strings.Join(echo.Headers["X-Real-Ip"], " ")
}

// spoofedIP is the address that clients claim to have.
const spoofedIP = "198.51.100.7"

// TestClientAddressIsKnownBehindHAProxy: the edge accepts X-Forwarded-For and the PROXY protocol from the trusted proxy, and from
// nobody else.
func TestClientAddressIsKnownBehindHAProxy(t *testing.T) {
	t.Parallel()
	f := newHAProxyProject(t, "10.213.107", true)
	for _, c := range []struct {
		what, port, url string
		header          []string
	}{
		{"HTTP", f.http, "http://docs.localhost", nil},
		{"HTTP, with a spoofed header", f.http, "http://docs.localhost", []string{"X-Forwarded-For", spoofedIP}},
		{"HTTP, with other spoofed headers", f.http, "http://docs.localhost", []string{"X-Real-Ip", spoofedIP, "True-Client-Ip", spoofedIP, "Forwarded", "for=" + spoofedIP}},
		{"PROXY protocol", f.tls, docs, nil},
		{"PROXY protocol, with a spoofed header", f.tls, docs, []string{"X-Forwarded-For", spoofedIP}},
		{"no proxy", f.direct, docs, nil},
		{"no proxy, with spoofed headers", f.direct, docs, []string{"X-Forwarded-For", spoofedIP, "Cf-Connecting-Ip", spoofedIP}},
	} {
		if got := f.clientIPSeen(t, f.clientVia(c.port, nil), c.url, c.header...); got != f.clientIP {
			t.Errorf("%s: the application gets the client address %q, want %s", c.what, got, f.clientIP)
		}
	}

	if logged := f.MustCompose(t, "logs", "--no-log-prefix", "edge"); strings.Contains(logged, `"client_ip":"`+spoofedIP) ||
		strings.Contains(logged, `"client_ip":"`+f.proxyIP) || !strings.Contains(logged, `"client_ip":"`+f.clientIP) {
		t.Errorf("the access log has the wrong clients:\n%s", logged)
	}

	preface := fmt.Appendf(nil, "PROXY TCP4 %s 192.0.2.1 40000 443\r\n", spoofedIP)
	if a, err := harness.Do(f.clientVia(f.direct, preface), http.MethodGet, docs+"/_test/echo", nil); err == nil {
		t.Errorf("a client's PROXY header is answered with %d, want no answer", a.Status)
	}
}

// TestUntrustedProxyIsTreatedAsAClient: without trusted_proxies, the edge believes no header.
func TestUntrustedProxyIsTreatedAsAClient(t *testing.T) {
	t.Parallel()
	f := newHAProxyProject(t, "10.213.108", false)
	if got := f.clientIPSeen(t, f.clientVia(f.http, nil), "http://docs.localhost", "X-Forwarded-For", spoofedIP); got != f.proxyIP {
		t.Errorf("the application gets the client address %q, want that of the proxy, %s", got, f.proxyIP)
	}
	if a, err := harness.Do(f.clientVia(f.tls, nil), http.MethodGet, docs+"/_test/echo", nil); err == nil {
		t.Errorf("an untrusted proxy's PROXY header is answered with %d, want no answer", a.Status)
	}
}
