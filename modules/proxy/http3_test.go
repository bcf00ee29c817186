package proxy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/theworklabs/edge/internal/registry"
)

// secureSite runs a site over TLS, with all versions of HTTP, in front of an endpoint, and waits until that is ready.
func secureSite(t testing.TB, address, directives string) (url string) {
	t.Helper()
	port := freePort(t)
	cert, key := selfSigned(t) // a managed one would have Caddy's own goroutines race with its start
	text := fmt.Sprintf("{\n admin off\n persist_config off\n storage file_system %s\n auto_https disable_redirects\n skip_install_trust\n grace_period 1s\n"+
		" log {\n level ERROR\n }\n edge {\n resolver 127.0.0.1:1\n static api:80 %s\n }\n}\nhttps://localhost:%s {\n tls %s %s\n %s\n}\n",
		storage, address, port, cert, key, directives)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	ready := reached(t, address, registry.Ready)
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

// selfSigned writes a certificate for localhost and its key to files.
func selfSigned(t testing.TB) (certFile, keyFile string) {
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

// insecure is a client's configuration that takes the site's own certificate.
func insecure() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, RootCAs: x509.NewCertPool()}
}

// clientsOf returns a client of each version of HTTP.
func clientsOf(t testing.TB) map[string]http.RoundTripper {
	t.Helper()
	one := &http.Transport{TLSClientConfig: insecure()}
	two := &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: insecure()}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		three.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

func TestTrailersArriveOverEveryHTTP(t *testing.T) {
	b := lists(t)
	url := secureSite(t, b.address, "edge_proxy api:80")
	for version, client := range clientsOf(t) {
		arrives := "trailer X-Checksum: abc"
		if version == "HTTP/3.0" {
			arrives = "trailer X-Checksum" // quic-go's server reads the names that are announced, and drops the values
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
				if resp.Proto != version || !bytes.Contains(text, []byte(arrives)) || bytes.Contains(text, []byte("6.6.6.6")) {
					t.Errorf("%s %s with %d bytes, by %s: the backend saw\n%s", version, method, len(body), resp.Proto, text)
				}
			}
		}
	}
}

// TestTrailersThatAreNoneHarmNobody: HTTP/3 lets a client announce the length of a body that has been sent.
func TestTrailersThatAreNoneHarmNobody(t *testing.T) {
	b := lists(t)
	url := secureSite(t, b.address, "edge_proxy api:80")
	client := clientsOf(t)["HTTP/3.0"]
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
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
}

func TestARequestWithoutABodyHasNoneOverEveryHTTP(t *testing.T) {
	b := lists(t)
	url := secureSite(t, b.address, "edge_proxy api:80")
	for version, client := range clientsOf(t) {
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
				t.Errorf("%s %s, by %s: the backend saw\n%s", version, method, resp.Proto, text)
			}
		}
	}
}

// TestEarlyDataCarriesNothingOutTwice: whoever records the datagrams of a resumed connection can send them again.
func TestEarlyDataCarriesNothingOutTwice(t *testing.T) {
	var carriedOut, safe atomic.Int32
	a := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			carriedOut.Add(1)
		case r.Header.Get("Early-Data") == "1":
			safe.Add(1)
		}
		fmt.Fprint(w, "ok")
	}).start(t)
	url := secureSite(t, a.address, "edge_proxy api:80")
	relay := newRelay(t, strings.TrimPrefix(url, "https://localhost"))
	config := insecure()
	config.ServerName, config.NextProtos = "localhost", []string{"h3"}
	config.ClientSessionCache = newSessions()
	resumed := false
	early := func(method string) (status string) {
		conn, err := quic.DialAddrEarly(t.Context(), relay.address(), config, &quic.Config{TokenStore: quic.NewLRUTokenStore(1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		status, err = ask(conn, method)
		if err != nil {
			t.Fatal(err)
		}
		if resumed && !conn.ConnectionState().Used0RTT {
			t.Fatalf("%s: no early data was used", method)
		}
		return status
	}
	if status := early("GET"); status != "200" { // which gets a ticket
		t.Fatal(status)
	}
	config.ClientSessionCache.(*sessions).wait(t)
	resumed = true
	relay.record()
	if status := early("POST"); status != "425" {
		t.Errorf("a POST in early data: %s, want 425", status)
	}
	relay.replay(t)
	if n := carriedOut.Load(); n != 0 {
		t.Errorf("the backend carried the POST out %d times", n)
	}
	if status := early("GET"); status != "200" || safe.Load() == 0 {
		t.Errorf("a GET in early data: %s, %d with Early-Data", status, safe.Load())
	}
}

// ask sends one request on a new QUIC connection, as early as that allows, and returns the status of the answer.
func ask(conn *quic.Conn, method string) (string, error) {
	control, err := conn.OpenUniStream()
	if err != nil {
		return "", err
	}
	if _, err := control.Write([]byte{0, 4, 0}); err != nil { // a control stream with empty settings (RFC 9114 section 6.2.1)
		return "", err
	}
	stream, err := conn.OpenStream()
	if err != nil {
		return "", err
	}
	var head bytes.Buffer
	encoder := qpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/pay"}} {
		if err := encoder.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return "", err
		}
	}
	frame := append(quicvarint.Append([]byte{1}, uint64(head.Len())), head.Bytes()...) // HEADERS
	if _, err := stream.Write(frame); err != nil {
		return "", err
	}
	if err := stream.Close(); err != nil {
		return "", err
	}
	return status(stream)
}

// status reads the head of an answer.
func status(stream io.Reader) (string, error) {
	reader := quicvarint.NewReader(stream)
	if kind, err := quicvarint.Read(reader); err != nil || kind != 1 {
		return "", fmt.Errorf("frame %d: %w", kind, err)
	}
	length, err := quicvarint.Read(reader)
	if err != nil {
		return "", err
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(reader, head); err != nil {
		return "", err
	}
	decode := qpack.NewDecoder().Decode(head)
	for {
		field, err := decode()
		if err != nil {
			return "", err
		}
		if field.Name == ":status" {
			return field.Value, nil
		}
	}
}

// sessions is a client's cache of tickets that tells when it has one.
type sessions struct {
	tls.ClientSessionCache
	got chan struct{}
}

func newSessions() *sessions {
	return &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(1), got: make(chan struct{}, 10)}
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	if state != nil {
		s.got <- struct{}{}
	}
}

func (s *sessions) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.got:
	case <-time.After(10 * time.Second):
		t.Fatal("the server gave no ticket")
	}
}

// relay passes datagrams between a client and the site, and remembers the client's.
type relay struct {
	front net.PacketConn
	site  *net.UDPAddr

	mu        sync.Mutex
	recording bool
	recorded  [][]byte
}

func newRelay(t *testing.T, port string) *relay {
	t.Helper()
	site, err := net.ResolveUDPAddr("udp", "127.0.0.1"+port)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	r := &relay{front: front, site: site}
	go r.run()
	return r
}

func (r *relay) address() string { return r.front.LocalAddr().String() }

func (r *relay) run() {
	backs := make(map[string]*net.UDPConn)
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.front.ReadFrom(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.recording {
			r.recorded = append(r.recorded, bytes.Clone(buf[:n]))
		}
		r.mu.Unlock()
		back := backs[from.String()]
		if back == nil {
			if back, err = net.DialUDP("udp", nil, r.site); err != nil {
				return
			}
			backs[from.String()] = back
			go func() {
				answer := make([]byte, 64<<10)
				for {
					n, err := back.Read(answer)
					if err != nil {
						return
					}
					_, _ = r.front.WriteTo(answer[:n], from)
				}
			}()
		}
		_, _ = back.Write(buf[:n])
	}
}

// record begins to remember datagrams.
func (r *relay) record() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording, r.recorded = true, nil
}

// replay sends the datagrams again from other sockets, until the server takes them for a new connection: it remembers for some
// seconds which ones it has closed.
func (r *relay) replay(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	r.recording = false
	datagrams := r.recorded
	r.mu.Unlock()
	if len(datagrams) == 0 {
		t.Fatal("nothing was recorded")
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if answered := r.replayOnce(t, datagrams); answered >= len(datagrams) {
			return
		}
	}
	t.Error("the server took no notice of the replay")
}

// replayOnce returns how many datagrams the server answered with.
func (r *relay) replayOnce(t *testing.T, datagrams [][]byte) (answered int) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, r.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, d := range datagrams {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
			return answered
		}
		answered++
	}
}

// BenchmarkWaiting measures the memory of requests that wait for their answer, through edge_proxy and through Caddy's own
// reverse_proxy in one run: client and backend included, so that the ratio counts.
func BenchmarkWaiting(b *testing.B) {
	const requests = 80 // one QUIC connection has 100 streams
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
		for _, path := range []string{"/stock", "/edge"} {
			b.Run(version+path, func(b *testing.B) {
				came, release := make(chan struct{}, requests), make(chan struct{})
				a := newBackend(b, func(w http.ResponseWriter, _ *http.Request) {
					came <- struct{}{}
					<-release
				}).start(b)
				url := secureSite(b, a.address, "handle /edge {\n edge_proxy api:80\n}\nhandle /stock {\n reverse_proxy "+a.address+"\n}")
				client := clientsOf(b)[version]
				var done sync.WaitGroup
				send := func() {
					req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+path, nil)
					if err != nil {
						b.Error(err)
						return
					}
					resp, err := client.RoundTrip(req)
					if err != nil {
						if !errors.Is(err, context.Canceled) {
							b.Error(err)
						}
						return
					}
					resp.Body.Close()
				}
				before := memory()
				for range requests {
					done.Go(send)
				}
				for range requests {
					<-came
				}
				used := memory() - before
				close(release)
				done.Wait()
				b.ReportMetric(float64(used)/requests/1024, "KiB/request")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// memory returns what heap and stacks take, without garbage.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
