package lab

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/testport"
)

// FaultProxy is a proxy in front of Pebble. It counts requests, and answers with faults in Pebble's place. Its methods are safe for
// concurrent use.
type FaultProxy struct {
	URL string // of the directory

	pebbleAddr string
	host       string
	server     *httptest.Server
	cert       tls.Certificate
	proxy      *httputil.ReverseProxy

	mu     sync.Mutex
	orders map[string][]time.Time // by name
	counts map[string]int         // by the first segment of the path
	fault  func(r *http.Request) *Fault
	edit   func(path string, resp *http.Response) error

	gate sync.RWMutex // write-locked while the proxy answers nothing
}

// Fault is an error response in Pebble's place.
type Fault struct {
	Status     int
	Type       string // after urn:ietf:params:acme:error:
	Detail     string
	RetryAfter time.Duration // 0: no such header
}

func newFaultProxy(t testing.TB, dir, host string) (*FaultProxy, string) {
	t.Helper()
	cert, rootFile := makeCertificate(t, dir, host)
	f := &FaultProxy{pebbleAddr: testport.Address(t), host: host, cert: cert, orders: make(map[string][]time.Time), counts: make(map[string]int)}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: f.pebbleAddr})
			r.Out.Host = r.In.Host // Pebble's links use the host of the request
		},
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		ModifyResponse: f.modify,
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	f.URL = "https://" + ln.Addr().String() + "/dir"
	f.serve(ln)
	t.Cleanup(func() { f.Down() })
	return f, rootFile
}

func (f *FaultProxy) serve(ln net.Listener) {
	server := &httptest.Server{
		Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{f.cert}},
		Config: &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second},
	}
	server.StartTLS()
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
}

// Down closes the authority's listener and connections: connection attempts fail.
func (f *FaultProxy) Down() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()
	if server != nil {
		server.CloseClientConnections()
		server.Close()
	}
}

// Up listens again at the authority's address after Down.
func (f *FaultProxy) Up(t testing.TB) {
	t.Helper()
	u, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	f.serve(ln)
}

// HoldRequestsDuring calls do and makes all requests wait until it returns.
func (f *FaultProxy) HoldRequestsDuring(do func()) {
	f.gate.Lock()
	defer f.gate.Unlock()
	do()
}

// SetFault sets the function that decides which requests get a fault: it returns nil for the others. A nil function ends faults.
func (f *FaultProxy) SetFault(faults func(r *http.Request) *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = faults
}

// EditResponses sets a function that changes Pebble's responses.
func (f *FaultProxy) EditResponses(edit func(path string, resp *http.Response) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.edit = edit
}

// Orders returns when certificates for a name were ordered, including orders that got a fault.
func (f *FaultProxy) Orders(name string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.orders[name]...)
}

// Count returns the number of requests whose path begins with a segment. "sign-me-up" counts new accounts.
func (f *FaultProxy) Count(first string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[first]
}

// ServeHTTP counts a request, and answers it with a fault or forwards it to Pebble.
func (f *FaultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has left
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f.gate.RLock()
	defer f.gate.RUnlock()
	f.mu.Lock()
	f.counts[firstSegment(r.URL.Path)]++
	if r.URL.Path == "/order-plz" {
		for _, name := range orderedNames(body) {
			f.orders[name] = append(f.orders[name], time.Now())
		}
	}
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if problem := fault(r); problem != nil {
			problem.write(w)
			return
		}
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *FaultProxy) modify(resp *http.Response) error {
	f.mu.Lock()
	edit := f.edit
	f.mu.Unlock()
	if edit == nil {
		return nil
	}
	return edit(resp.Request.URL.Path, resp)
}

func firstSegment(path string) string {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			return path[1:i]
		}
	}
	return path[min(1, len(path)):]
}

// orderedNames returns the names in a newOrder request, a JWS (RFC 8555, section 7.4).
func orderedNames(body []byte) (names []string) {
	var jws struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &jws) != nil {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil {
		return nil
	}
	for _, id := range order.Identifiers {
		names = append(names, id.Value)
	}
	return names
}

func (p *Fault) write(w http.ResponseWriter) {
	// Without a nonce, clients would fail for another reason (RFC 8555, section 6.5).
	w.Header().Set("Replay-Nonce", base64.RawURLEncoding.EncodeToString([]byte(time.Now().String())))
	w.Header().Set("Content-Type", "application/problem+json")
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(p.RetryAfter.Seconds())))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // an error means that the client has left
		"type": "urn:ietf:params:acme:error:" + p.Type, "detail": p.Detail, "status": p.Status,
	})
}

// makeCertificate makes a self-signed certificate for the authority's own address. It returns the PEM file of the certificate.
func makeCertificate(t testing.TB, dir, host string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP(host), net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"front.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"front.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(files["front.pem"], files["front.key"])
	if err != nil {
		t.Fatal(err)
	}
	return pair, filepath.Join(dir, "front.pem")
}
