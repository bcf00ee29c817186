package listeners_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/standard"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/theworklabs/edge/internal/testport"
	_ "github.com/theworklabs/edge/modules/listeners"
	"github.com/theworklabs/edge/tests/clients"
)

// object is a JSON object.
type object = map[string]any

// testServer is a Caddy with one server without TLS and one with it, which tests reload.
type testServer struct {
	t               *testing.T
	dir             string
	keepConnections bool
	plain, secure   string // host:port
}

// newTestServer starts Caddy. Only one test may have one at a time.
func newTestServer(t *testing.T, keepConnections bool) *testServer {
	t.Helper()
	s := &testServer{t: t, dir: t.TempDir(), keepConnections: keepConnections, plain: testport.Address(t), secure: testport.Address(t)}
	s.writeCertificate()
	s.load(0, nil)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// load replaces the configuration. Responses have the number of the configuration. change may change the policy of TLS.
func (s *testServer) load(number int, policy object) {
	s.t.Helper()
	server := func(address string) object {
		o := object{
			"listen": []any{address},
			"routes": []any{object{"handle": []any{
				object{"handler": "request_body", "max_size": 1 << 20},
				object{"handler": "static_response", "status_code": 200, "body": fmt.Sprintf("configuration %d {http.request.tls.version}", number)},
			}}},
			"automatic_https": object{"disable": true},
			"idle_timeout":    "1m",
		}
		if s.keepConnections {
			o["listener_wrappers"] = []any{object{"wrapper": "keep_connections"}}
		}
		return o
	}
	secure := server(s.secure)
	if policy == nil {
		policy = object{}
	}
	secure["tls_connection_policies"] = []any{policy}
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true},
		"storage": object{"module": "file_system", "root": s.dir},
		"logging": object{"logs": object{"default": object{"writer": object{"output": "discard"}}}},
		"apps": object{
			"tls": object{"certificates": object{"load_files": []any{object{"certificate": s.dir + "/cert.pem", "key": s.dir + "/key.pem"}}}},
			"http": object{
				"http_port": 1, "grace_period": "5s",
				"servers": object{"plain": server(s.plain), "secure": secure},
			},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		s.t.Fatal(err)
	}
}

// writeCertificate writes cert.pem and key.pem.
func (s *testServer) writeCertificate() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// url returns the URL that a kind of client asks.
func (s *testServer) url(kind clients.Kind) string {
	if kind.IsSecure {
		return "https://" + s.secure
	}
	return "http://" + s.plain
}

// client returns a client of a kind, and the URL that it asks.
func (s *testServer) client(name string) (*http.Client, string) {
	s.t.Helper()
	for _, kind := range clients.All("localhost") {
		if kind.Name == name {
			return kind.New(10 * time.Second), s.url(kind)
		}
	}
	s.t.Fatalf("there is no client %q", name)
	return nil, ""
}

// TestNoPOSTIsLostInReloads sends 200 POSTs a second, over HTTP/1.1 and HTTP/2, through reloads; and counts those over HTTP/3, whose connections
// are Caddy's own: about one POST of 3,000 on a busy machine gets no answer within 20 s, as with Caddy's listeners. EDGE_TEST_RELOADS is their number;
// default 40, which takes about 10 s. EDGE_TEST_RELOADS_STOCK=1 runs it with Caddy's own listeners, to compare.
func TestNoPOSTIsLostInReloads(t *testing.T) {
	reloads := 40
	if text := os.Getenv("EDGE_TEST_RELOADS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		reloads = n
	}
	isStock := os.Getenv("EDGE_TEST_RELOADS_STOCK") != ""
	s := newTestServer(t, !isStock)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var workers sync.WaitGroup
	sent, lost := make(map[string]*atomic.Int64), make(map[string]*atomic.Int64)
	for _, kind := range clients.All("localhost") {
		sentHere, lostHere := new(atomic.Int64), new(atomic.Int64)
		sent[kind.Name], lost[kind.Name] = sentHere, lostHere
		for range 4 {
			workers.Go(func() {
				client := kind.New(20 * time.Second)
				defer client.CloseIdleConnections()
				for ctx.Err() == nil {
					_, err := clients.Send(client, http.MethodPost, s.url(kind))
					sentHere.Add(1)
					if err != nil {
						lostHere.Add(1)
						t.Logf("%s: %v", kind.Name, err)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
	}
	for i := range reloads {
		s.load(i+1, nil)
		time.Sleep(150 * time.Millisecond)
	}
	cancel()
	workers.Wait()
	for name := range sent {
		t.Logf("%s: %d POSTs, %d lost in %d reloads", name, sent[name].Load(), lost[name].Load(), reloads)
		if lost[name].Load() > 0 && !isStock && name != clients.HTTP3 {
			t.Errorf("%s: %d of %d POSTs are lost", name, lost[name].Load(), sent[name].Load())
		}
	}
}

// get sends a GET over one kept connection, and returns the body.
func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestConnectionsMoveToTheNextConfiguration: the next request on a connection is handled by the new configuration, also over TLS.
func TestConnectionsMoveToTheNextConfiguration(t *testing.T) {
	s := newTestServer(t, true)
	for _, name := range []string{clients.HTTP1, clients.HTTP1TLS} {
		client, url := s.client(name)
		dials := 0
		client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		for i := range 4 {
			s.load(i+1, nil)
			body := get(t, client, url)
			if want := fmt.Sprintf("configuration %d", i+1); !strings.HasPrefix(body, want) {
				t.Errorf("%s: got %q, want %q", name, body, want)
			}
			if isSecure := strings.HasPrefix(url, "https"); isSecure && !strings.Contains(body, "tls1.3") {
				t.Errorf("%s: got %q; the configuration does not know the state of TLS", name, body)
			}
		}
		if dials != 1 {
			t.Errorf("%s: the client has dialled %d times, want once", name, dials)
		}
		client.CloseIdleConnections()
	}
}

// TestConnectionsDoNotMoveToOtherSettingsOfTLS: a client that has shown no certificate must not get past a demand for one.
func TestConnectionsDoNotMoveToOtherSettingsOfTLS(t *testing.T) {
	s := newTestServer(t, true)
	client, url := s.client(clients.HTTP1TLS)
	get(t, client, url)
	s.load(1, object{"client_authentication": object{"mode": "require"}})
	if resp, err := client.Get(url); err == nil {
		resp.Body.Close()
		t.Error("a request without a certificate is answered on an old connection")
	}
}

// TestConnectionsCloseWithTheirAddress: a connection whose address has no listener any more is closed, also if it waits for its next request.
func TestConnectionsCloseWithTheirAddress(t *testing.T) {
	s := newTestServer(t, true)
	conn, err := net.Dial("tcp", s.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func() error {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 1<<10))
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	s.load(1, nil) // it waits
	s.plain = testport.Address(t)
	s.load(2, nil) // its address is gone
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// TestCaddyfile: both are written as in the README.
func TestCaddyfile(t *testing.T) {
	const text = "{\n\tdefault_bind edge/\n\tservers {\n\t\tlistener_wrappers {\n\t\t\ttls\n\t\t\tkeep_connections\n\t\t}\n\t}\n}\nhttp://a.example:8123 {\n\trespond ok\n}\n"
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(config), `"listen":["edge/:8123"]`) || !strings.Contains(string(config), `{"wrapper":"keep_connections"}`) {
		t.Errorf("got %s", config)
	}
	for _, options := range []string{"keep_connections now", "keep_connections {\n\t\t\t\tidle 5m\n\t\t\t}"} {
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.Replace(text, "keep_connections", options, 1)), nil); err == nil {
			t.Errorf("%q is accepted", options)
		}
	}
}
