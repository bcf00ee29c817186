package tunnel_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theworklabs/edge/internal/tunnel"
)

// testTimeout limits every wait for something that must happen.
const testTimeout = 20 * time.Second

// fixture is one tunnel with its two remote peers.
type fixture struct {
	testing.TB
	group            *tunnel.Group
	traffic          *tunnel.Traffic
	client, endpoint net.Conn // the remote ends of the tunnel's connections
	report           chan tunnel.Report
}

// openTunnel opens a tunnel over TCP, after the functions have changed its Config.
func openTunnel(t testing.TB, change ...func(*tunnel.Config)) *fixture {
	t.Helper()
	s := newFixture(t)
	var config tunnel.Config
	s.client, config.Client = tcpPair(t)
	s.endpoint, config.Endpoint = tcpPair(t)
	s.start(config, change...)
	return s
}

func newFixture(t testing.TB) *fixture {
	s := &fixture{
		TB: t, group: tunnel.NewGroup(tunnel.NewGroup(nil)), traffic: &tunnel.Traffic{Parent: new(tunnel.Traffic)},
		report: make(chan tunnel.Report, 10),
	}
	t.Cleanup(func() { s.expectNoGoroutines() })
	return s
}

func (s *fixture) start(config tunnel.Config, change ...func(*tunnel.Config)) {
	config.Traffic = s.traffic
	config.OnClose = func(r tunnel.Report) { s.report <- r }
	for _, c := range change {
		c(&config)
	}
	s.Cleanup(func() { s.client.Close(); s.endpoint.Close() })
	for _, c := range []net.Conn{s.client, s.endpoint} {
		if err := c.SetDeadline(time.Now().Add(testTimeout)); err != nil {
			s.Fatal(err)
		}
	}
	s.group.Open(config)
}

// openPipeTunnel opens a tunnel over net.Pipe connections, which use the clock of synctest.
func openPipeTunnel(t *testing.T, change ...func(*tunnel.Config)) *fixture {
	s := newFixture(t)
	var config tunnel.Config
	s.client, config.Client = net.Pipe()
	s.endpoint, config.Endpoint = net.Pipe()
	s.start(config, change...)
	for _, c := range []net.Conn{s.client, s.endpoint} {
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func webSocket(c *tunnel.Config) { c.WebSocket = true }

// tcpPair returns both ends of a TCP connection.
func tcpPair(t testing.TB) (remote, local net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if remote, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if local, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return remote, local
}

// startTLS starts TLS on both ends of a connection.
func startTLS(t testing.TB, remote, local net.Conn) (client, server *tls.Conn) {
	t.Helper()
	client = tls.Client(remote, &tls.Config{InsecureSkipVerify: true})
	server = tls.Server(local, serverTLSConfig(t))
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func serverTLSConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// waitClosed waits until the tunnel has closed, checks who closed it and why, and returns its report. Empty strings match
// anything.
func (s *fixture) waitClosed(by, reason string) tunnel.Report {
	s.Helper()
	select {
	case r := <-s.report:
		if by != "" && r.ClosedBy != by || r.ClosedBy == "" || !strings.Contains(r.Reason, reason) {
			s.Errorf("closed by %s (%s), want by %s (%s)", r.ClosedBy, r.Reason, by, reason)
		}
		if n := s.traffic.Parent.Sockets.Load(); n != 0 {
			s.Errorf("%d sockets are still counted", n)
		}
		return r
	case <-time.After(testTimeout):
		s.Fatal("the tunnel did not close")
		panic("unreachable")
	}
}

// eventually waits until reached returns true.
func (s *fixture) eventually(reached func() bool, state func() any) {
	s.Helper()
	deadline := time.Now().Add(testTimeout)
	for tick := time.NewTicker(time.Millisecond); !reached(); <-tick.C {
		if time.Now().After(deadline) {
			s.Fatalf("the state is still %v", state())
		}
	}
}

// send writes to a connection.
func (s *fixture) send(conn net.Conn, p string) {
	s.Helper()
	if _, err := io.WriteString(conn, p); err != nil {
		s.Fatal(err)
	}
}

// expect reads as many bytes as wanted and compares them.
func (s *fixture) expect(conn net.Conn, want string) {
	s.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		s.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

// expectEOF checks that the connection ends without further bytes.
func (s *fixture) expectEOF(conn net.Conn) {
	s.Helper()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		s.Errorf("got %q, %v, want EOF", rest, err)
	}
}

// expectAbortAtOnce aborts the tunnel in the middle of a frame, and checks that the client's connection ends without waiting for the rest.
func (s *fixture) expectAbortAtOnce() {
	s.Helper()
	began := time.Now()
	s.group.Abort()
	s.expectEOF(s.client)
	if took := time.Since(began); took > 900*time.Millisecond {
		s.Errorf("closed after %s, want without waiting for the frame", took)
	}
}

// halfClose closes a connection for writing.
func (s *fixture) halfClose(conn net.Conn) {
	s.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		s.Fatal(err)
	}
}

// reset closes a connection with a TCP reset.
func (s *fixture) reset(conn net.Conn) {
	s.Helper()
	if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
		s.Fatal(err)
	}
}

// goroutines returns the stacks of the goroutines that run the package's code.
func goroutines() []string { return goroutinesIn(make([]byte, 8<<20)) }

// goroutinesIn is goroutines with a buffer that can be used again.
func goroutinesIn(buffer []byte) []string {
	stacks := buffer[:runtime.Stack(buffer, true)]
	return slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(stack string) bool {
		return !strings.Contains(stack, "/internal/tunnel.")
	})
}

// expectNoGoroutines waits until no goroutine runs the package's code.
func (s *fixture) expectNoGoroutines() {
	s.Helper()
	var left []string
	buffer := make([]byte, 8<<20)
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if left = goroutinesIn(buffer); len(left) == 0 {
			return
		}
	}
	s.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}
